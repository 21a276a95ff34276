"""The Hugging Face hub, asked once whether it is there."""

from functools import cache


@cache
def settle_hub() -> None:
    """Asks the hub for an answer within 5 seconds; without one, this process goes by the hub's cache from then on.

    Otherwise every file that is looked up would wait for several tries of its own. With ``HF_HUB_OFFLINE`` nothing is
    asked.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # of whichever HTTP client the hub's library has by now; it says the same: nobody there
        constants.HF_HUB_OFFLINE = True
