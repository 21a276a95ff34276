# docker build -t mu-lightning . && docker run --rm -v "$PWD:/work" mu-lightning advise --target-lang yo
FROM python:3.11-slim
WORKDIR /opt/mu-lightning
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY mu_lightning mu_lightning
COPY callbacks callbacks
COPY configs configs
COPY checkpoints/xlm-r-cldr checkpoints/xlm-r-cldr
RUN pip install --no-cache-dir -c constraints.txt ".[onnx]" && useradd --create-home user
USER user
WORKDIR /work
ENTRYPOINT ["mu-lightning"]
CMD ["--help"]
