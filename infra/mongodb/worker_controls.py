"""The wishes for the workers in MongoDB: one document, changed as a whole."""

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from infra.mongodb.documents import safe_value
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.controls import NO_WISHES, ControlAction, Wish, Wishes

_ID = "wishes"
_ACTIONS = frozenset(map(str, ControlAction))


class MongoWorkerControls:
    """`IWorkerControls` on the collection `worker_controls`."""

    def __init__(self, store: MongoStore) -> None:
        # Only what cannot be rolled back: a revision that a worker carried out must not come again with other wishes.
        self._collection = store.collection("worker_controls").with_options(read_concern=ReadConcern("majority"))

    async def read(self) -> Wishes:
        """Return the wishes."""
        with store_errors():
            found = await self._collection.find_one({"_id": _ID})
        if found is None:
            return NO_WISHES
        # A newer version of the program may wish what this one knows nothing of.
        known = (document for document in found["wishes"] if document["action"] in _ACTIONS)
        return Wishes(found["revision"], tuple(_wish_from(document) for document in known))

    async def replace(self, wishes: Wishes, *, expected: int) -> bool:
        """Store the wishes, if the stored ones are as expected."""
        document = {"revision": wishes.revision, "wishes": [_document_of(wish) for wish in wishes.wishes]}
        with store_errors():
            if expected == 0:
                return await self._insert(document)
            replaced = await self._collection.replace_one({"_id": _ID, "revision": expected}, document)
        return bool(replaced.matched_count)

    async def _insert(self, document: Document) -> bool:
        try:
            await self._collection.insert_one({"_id": _ID, **document})
        except DuplicateKeyError:
            return False
        return True


def _document_of(wish: Wish) -> Document:
    return {
        "action": str(wish.action),
        "worker": safe_value(wish.worker),
        "by": safe_value(wish.by),
        "why": safe_value(wish.why),
        "since": wish.since,
        "revision": wish.revision,
        "prefetch": wish.prefetch,
    }


def _wish_from(document: Document) -> Wish:
    fields = {name: document[name] for name in Wish.__dataclass_fields__}
    return Wish(**{**fields, "action": ControlAction(document["action"])})
