// What the programs in JavaScript have in common: where the service is, and what it should answer.

import assert from "node:assert/strict";
import { createInterface } from "node:readline/promises";

const { SERVICE_URL, SERVICE_MODEL, PROMPT, TEXT, ANSWER } = process.env;
export { PROMPT, TEXT, ANSWER };
export const URL = SERVICE_URL;
export const MODEL = SERVICE_MODEL;
export const TOKENS = 8;
// Long enough to be left before its end.
export const MANY = 480;
export const same = assert.deepEqual;

/** Say that a stream was left, and stay until the service was seen to notice. */
export async function hasLeft() {
  console.log("left");
  const lines = createInterface({ input: process.stdin });
  await new Promise((resolve) => lines.once("line", resolve).once("close", resolve));
  lines.close();
}

/** Something must go wrong; returns what. */
export async function fails(ask) {
  try {
    await ask();
  } catch (error) {
    return error;
  }
  throw new Error("no error");
}

/** Do the one check that the command line names. */
export async function main(checks) {
  await checks[process.argv[2]]();
  process.exit(0); // whatever a client keeps open
}
