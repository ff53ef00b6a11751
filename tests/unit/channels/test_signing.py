"""Signatures of webhooks are those of the convention."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from orchestrator.notify.channels import signing


def now_s() -> int:
    return int(datetime.now(UTC).timestamp())


def test_each_secret_verifies_alone() -> None:
    """While secrets rotate, a receiver that knows any one of them accepts the message; another does not."""
    secrets = [signing.new_secret() for _ in range(3)]
    headers = signing.headers("msg_1", now_s(), b'{"a":"\xc3\xa9"}', map(signing.key_of, secrets))
    for secret in secrets:
        assert Webhook(secret).verify(b'{"a":"\xc3\xa9"}', headers) == {"a": "é"}
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(b'{"a":"\xc3\xa9"}', headers)


@pytest.mark.parametrize("change", ["webhook-id", "webhook-timestamp", "body"])
def test_everything_signed_counts(change: str) -> None:
    """A changed id, time or body breaks the signature."""
    secret, body = signing.new_secret(), b"{}"
    headers = signing.headers("msg_1", now_s(), body, [signing.key_of(secret)])
    if change == "body":
        body = b"[]"
    else:
        headers[change] = {"webhook-id": "msg_2", "webhook-timestamp": str(now_s() - 9)}[change]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_known_answer() -> None:
    """The example of the convention's specification."""
    key = signing.key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signing.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("size", [24, 32, 64])
def test_sizes_of_secrets(size: int) -> None:
    """Secrets of 24 to 64 bytes are good."""
    assert len(signing.key_of(signing.PREFIX + base64.b64encode(bytes(size)).decode())) == size


@pytest.mark.parametrize(
    "secret",
    [
        None,
        7,
        "",
        "whsec_",
        "x" * 40,
        "whsec_" + "A" * 28,
        "whsec_" + "A" * 92,
        "whsec_!!!!" + "A" * 32,
        "WHSEC_" + "A" * 40,
    ],
)
def test_other_secrets_are_refused_and_not_repeated(secret: object) -> None:
    """What is no secret is refused without telling it again."""
    with pytest.raises(ValueError, match="a secret is whsec_") as caught:
        signing.key_of(secret)
    assert not secret or str(secret) not in str(caught.value) or secret == "whsec_"
