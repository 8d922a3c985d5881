"""The signature of one request with an access key, beside the vendor's own signer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

from benchmarks.measuring import in_turn
from fdi_health.credentials.signer import AccessKey, sign

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_US = 50
_TIMES = 200
_KEY = AccessKey("HPUAEXAMPLE", "made-up")
_HOST, _PROJECT = "roma.cn-north-4.myhuaweicloud.com", "c53626012ba84727b938ca8bf03108ef"
_PATH = f"/v2/{_PROJECT}/fdi/instances/fae7ff6c-8e07-4cf8-9e67-589cab2f017c/statistics/tasks"


def lines() -> Iterator[str]:
    """Yield one line: microseconds for one signature, ours and the vendor's, side by side."""
    signer = Signer(BasicCredentials(_KEY.access_key, _KEY.secret_key))

    def ours() -> None:
        for _ in range(_TIMES):
            sign(_KEY, "GET", _PATH, (), {"Host": _HOST, "X-Project-Id": _PROJECT}, b"", time.time())

    def theirs() -> None:
        for _ in range(_TIMES):
            date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            headers = {"Host": _HOST, "X-Project-Id": _PROJECT, "X-Sdk-Date": date}
            request: Any = SdkRequest("GET", "https", _HOST, _PATH, query_params=[], header_params=headers, body="")
            signer.sign(request)

    own, vendors = (median / _TIMES * 1e6 for median in in_turn([ours, theirs], runs=15))
    verdict = "ok" if own <= LIMIT_US else "TOO SLOW"
    what = "signature of a request / the vendor's signer"
    yield f"{what:<58}{own:>8.0f} us{vendors:>8.0f} us{own / vendors:>7.2f} x  (limit {LIMIT_US} us) {verdict}"
