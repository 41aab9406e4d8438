"""What imports have brought in without an id, so that the same file brings it in once."""

from __future__ import annotations

import base64
import hashlib
import json
from array import array
from collections.abc import Collection, Iterable
from typing import ClassVar

from storage.digests import Digests
from storage.fields import LATEST_MS
from storage.row import Result
from storage.store import Store
from storage.transaction import Transaction


class ImportReceipt(Result):
    """Kept with the rows of a batch: the digests of its lines without an id (8 bytes each, in base64), and `made`.

    That is 11 bytes a line on disk and no index. An id made from the digest would cost a row of `aliases` for every
    line, with its text in an index that DuckDB keeps in memory, and cold reads would go through it for ever.
    """

    table: ClassVar[str] = "importReceipt"

    lines: str
    made: list[str]


class Imported:
    """What earlier imports did, read from their receipts when it is first asked for.

    `made` are the ids of rows that a line implied (a tag, a grant) and that a line of their own may take the place of.
    """

    def __init__(self) -> None:
        self.lines = Digests()
        self.made: set[str] = set()
        self._loaded = False

    async def load(self, store: Store) -> None:
        """Read the receipts, once: what is kept later in this process goes in as well."""
        if self._loaded:
            return
        found = await store.database.select("SELECT result FROM requests WHERE kind = ?", [ImportReceipt.table])
        for (text,) in found:
            receipt = ImportReceipt.model_validate(json.loads(text))
            self._add(array("Q", base64.b64decode(receipt.lines)), receipt.made)
        self._loaded = True

    def keep(self, tx: Transaction, digests: Collection[int], made: Collection[str]) -> None:
        """Have a batch remember what it brings in. The last step of a request: nothing can fail any more."""
        if not digests and not made:
            return
        raw = array("Q", digests).tobytes()
        name = hashlib.blake2b(raw + "\n".join(made).encode(), digest_size=16).hexdigest()
        receipt = ImportReceipt(lines=base64.b64encode(raw).decode(), made=list(made))
        # The keys of callers contain a slash, so they never meet this one.
        tx.keep_receipt(f"import:{name}", "", receipt, LATEST_MS)
        self._add(digests, made)

    def _add(self, digests: Iterable[int], made: Iterable[str]) -> None:
        for digest in digests:
            self.lines.add(digest)
        self.made.update(made)
