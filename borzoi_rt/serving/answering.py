"""What every served model does around an answer: a fault stays with its request, and leaves a line in the log.

The line is one JSON object, which Triton quotes behind its own prefix: ``request`` (the id that the client gave),
``model``, ``ms`` and ``status``, with ``message`` where the request failed. Failures are logged always, answers with
``--log-verbose=1``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ..errors import BorzoiError, InputError

LONGEST_ID = 128


def answer(model: str, request: Any, make: Callable[[Any, Any], list[Any]]) -> Any:
    """Return the response to one request.

    Parameters
    ----------
    model : str
        Name of the model, for the log.
    request : pb_utils.InferenceRequest
        What was asked.
    make : callable
        Returns the tensors, given the utilities of Triton's python backend and the request.
    """
    import triton_python_backend_utils as triton

    began, fault, status, tensors = time.perf_counter(), "", "ok", []
    try:
        tensors = make(triton, request)
    except InputError as error:
        status, fault = "invalid", str(error)
    except BorzoiError as error:
        status, fault = "failed", str(error)
    except Exception as error:  # a defect of ours must not fail the other requests of a batch
        status, fault = "defect", f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    line = {
        "request": str(request.request_id())[:LONGEST_ID],
        "model": model,
        "ms": round(1e3 * (time.perf_counter() - began), 3),
        "status": status,
    }
    if status == "ok":
        triton.Logger.log_verbose(json.dumps(line))
        return triton.InferenceResponse(tensors)
    triton.Logger.log_warn(json.dumps({**line, "message": fault}))
    codes = triton.TritonError
    code = codes.INVALID_ARG if status == "invalid" else codes.INTERNAL
    return triton.InferenceResponse(error=triton.TritonError(fault, code))
