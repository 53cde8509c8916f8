"""Requests to a tracking server, over connections that stay open."""

from __future__ import annotations

import json
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from harness.ledger.client import (
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    TEMPORARILY_UNAVAILABLE,
    MlflowException,
    RestStore,
    http_request,
    verify_rest_response,
)  # fmt: skip

# Requests on their way: enough to keep a server's processes busy. One process has 15 connections to
# its database, and a request holds up to two of them; more than that wait for each other.
AT_ONCE = 8
CROWDED = "QueuePool limit"  # what a process says, as if the request were bad, that has none left
HOME = "/api/2.0/mlflow/"
REFUSED = (401, 403)


class Wire:
    """A server, asked at less cost to this machine than by MLflow's client.

    The first request of a kind goes MLflow's way, which finds out the address, certificates,
    proxies and how to prove who we are. For each further one that would take several times as long
    as sending it, so they go as the first went. Those that must be signed one by one, or that were
    redirected, all go MLflow's way.

    Args:
        store: MLflow's client of the server.
    """

    def __init__(self, store: RestStore) -> None:
        self.store = store
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=AT_ONCE))
        self._known: dict[str, tuple[requests.PreparedRequest, dict[str, Any]]] = {}

    def ask(self, word: str, body: dict[str, Any]) -> dict[str, Any]:
        """What the server answers to a POST.

        Args:
            word: Of MLflow's interface, such as "runs/create".
            body: What is sent.

        Raises:
            MlflowException: it does not answer, or refuses.
        """
        known = self._known.get(word)
        answer = self._again(*known, body) if known else self._first(word, body)
        if answer.status_code in REFUSED:  # what proves who we are may have been renewed
            self._known.pop(word, None)
        if answer.status_code == requests.codes.bad_request and CROWDED in answer.text:
            raise MlflowException("the server is crowded", TEMPORARILY_UNAVAILABLE)
        return dict(verify_rest_response(answer, HOME + word).json())

    def _first(self, word: str, body: dict[str, Any]) -> requests.Response:
        who = self.store.get_host_creds()
        answer: requests.Response = http_request(who, HOME + word, "POST", json=body)
        alone = who.auth or who.aws_sigv4 or who.use_databricks_sdk or answer.history
        if answer.status_code == requests.codes.ok and not alone:
            sent = answer.request
            settings = self._session.merge_environment_settings(
                str(sent.url), {}, False, who.verify, who.client_cert_path
            )
            self._known[word] = sent, dict(settings)
        return answer

    def _again(
        self, first: requests.PreparedRequest, settings: dict[str, Any], body: dict[str, Any]
    ) -> requests.Response:
        request = first.copy()
        request.body = json.dumps(body).encode()
        request.headers["Content-Length"] = str(len(request.body))
        timeout = MLFLOW_HTTP_REQUEST_TIMEOUT.get()
        try:
            return self._session.send(request, timeout=timeout, allow_redirects=False, **settings)
        except requests.RequestException as error:
            raise MlflowException(f"{request.url} does not answer: {error}") from error
