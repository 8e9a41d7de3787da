"""Secrets at rest: encrypted with Fernet under the newest key, read under any key that is still configured.

What a secret is for belongs to its table's module. Nothing here ever puts a key or a plain text into a message.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from hps_platform.errors import SettingsError

_HOW_TO = "make one with: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"


class SecretBox:
    """Encrypts and decrypts; `keys` are Fernet keys separated by commas, the newest first.

    Raises `SettingsError` when there is no key or one of them isn't a Fernet key.
    """

    def __init__(self, keys: SecretStr | str) -> None:
        text = keys.get_secret_value() if isinstance(keys, SecretStr) else keys
        fernets: list[Fernet] = []
        parts = [part.strip() for part in text.split(",") if part.strip()]
        for number, part in enumerate(parts, 1):
            try:
                fernets.append(Fernet(part))
            except ValueError:
                raise SettingsError(
                    f"FIELD_ENCRYPTION_KEY: key {number} of {len(parts)} is not 32 bytes in url-safe base64; {_HOW_TO}"
                ) from None
        if not fernets:
            raise SettingsError(f"FIELD_ENCRYPTION_KEY is not set, so secrets can't be stored or read; {_HOW_TO}")
        self._newest = fernets[0]
        self._size = len(fernets)
        self._fernet = MultiFernet(fernets)

    def encrypt(self, secret: SecretStr) -> str:
        return self._fernet.encrypt(secret.get_secret_value().encode()).decode("ascii")

    def decrypt(self, token: str) -> SecretStr:
        """Raises `SettingsError` when none of the keys is the one it was encrypted under."""
        try:
            return SecretStr(self._fernet.decrypt(token.encode()).decode())
        except InvalidToken:
            raise SettingsError(
                "FIELD_ENCRYPTION_KEY lacks the key that a stored secret was encrypted under: "
                "add the former key after a comma, or enter the secret again"
            ) from None

    @property
    def size(self) -> int:
        """How many keys there are."""
        return self._size

    def is_newest(self, token: str) -> bool:
        """Whether it is encrypted under the newest key."""
        try:
            self._newest.decrypt(token.encode())
        except InvalidToken:
            return False
        return True

    def rotate(self, token: str) -> str:
        """The same secret under the newest key; raises as `decrypt`."""
        try:
            return self._fernet.rotate(token.encode()).decode("ascii")
        except InvalidToken:
            raise SettingsError("FIELD_ENCRYPTION_KEY lacks the key that a stored secret was encrypted under") from None
