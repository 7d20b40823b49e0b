// OpenAI's package in Node.

import OpenAI from "openai";
import { ANSWER, MANY, MODEL, PROMPT, TEXT, TOKENS, URL, fails, hasLeft, main, same } from "./common.mjs";

const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: "none" });
const asked = { model: MODEL, prompt: PROMPT, temperature: 0, max_tokens: TOKENS };
const messages = [{ role: "user", content: PROMPT }];
const talk = { model: MODEL, messages, temperature: 0, max_tokens: TOKENS };

await main({
  async call() {
    same((await client.completions.create(asked)).choices[0].text, TEXT);
    same((await client.chat.completions.create(talk)).choices[0].message.content, ANSWER);
    const { data } = await client.embeddings.create({ model: MODEL, input: PROMPT });
    same(Math.round(data[0].embedding.reduce((sum, x) => sum + x * x, 0) * 1000), 1000);
  },
  async stream() {
    let text = "";
    for await (const part of await client.completions.create({ ...asked, stream: true }))
      text += part.choices[0].text;
    same(text, TEXT);
    const answer = await client.chat.completions.stream(talk).finalContent();
    same(answer, ANSWER);
  },
  async cancel() {
    const long = { ...asked, max_tokens: MANY, stream: true };
    for await (const part of await client.completions.create(long)) if (part) break;
    await hasLeft();
  },
  async error() {
    const error = await fails(() => client.completions.create({ ...asked, temperature: 9 }));
    same([error.constructor.name, error.param], ["BadRequestError", "temperature"]);
  },
  async retry() {
    same((await client.completions.create(asked)).choices[0].text, TEXT);
  },
});
