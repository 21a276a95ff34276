"""Checks whether the Hugging Face hub is reachable."""

from functools import cache


@cache
def settle_hub() -> None:
    """Switches to offline mode if the hub does not answer within 5 seconds.

    This avoids retries and timeouts for every file. With ``HF_HUB_OFFLINE`` no request is made.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # errors of any HTTP client: the hub is unreachable
        constants.HF_HUB_OFFLINE = True
