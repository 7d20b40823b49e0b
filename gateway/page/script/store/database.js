/** The browser's database of this page: how it is laid out, and how it came to be so. */

const NAME = "go-on";

/**
 * What each migration does to the database; the last one's number is the database's. One that was
 * ever served is never changed: a new one follows it.
 */
const MIGRATIONS = [
  (database) => {
    database.createObjectStore("texts", { keyPath: "id" });
    database.createObjectStore("bodies", { keyPath: "id" });
    database.createObjectStore("branches", { keyPath: ["text", "id"] });
  },
];
export const MIGRATION = MIGRATIONS.length;

/** @returns {Promise<IDBDatabase>} rejects where the browser keeps nothing for this page */
export function openDatabase() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, MIGRATION);
    asked.onupgradeneeded = ({ oldVersion }) => {
      for (const migrate of MIGRATIONS.slice(oldVersion)) migrate(asked.result, asked.transaction);
    };
    asked.onsuccess = () => {
      // A newer page in another tab wants to migrate: it must not wait for this one.
      asked.result.onversionchange = () => asked.result.close();
      resolve(asked.result);
    };
    asked.onerror = () => reject(asked.error);
    // An older page in another tab holds it: this one keeps nothing rather than wait for that.
    asked.onblocked = () => reject(new Error("blocked"));
  });
}

/** @returns {Promise} of a request's result */
export function resultOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @returns {Promise} that resolves when a transaction is on the disk */
export function completed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
  });
}
