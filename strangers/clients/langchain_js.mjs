// LangChain's models of completions and of chats, in JavaScript.

import { ChatOpenAI, OpenAI } from "@langchain/openai";
import { ANSWER, MANY, MODEL, PROMPT, TEXT, TOKENS, URL, fails, hasLeft, main, same } from "./common.mjs";

const configuration = { baseURL: `${URL}/v1` };
const service = { configuration, apiKey: "none", model: MODEL, temperature: 0 };
const writer = new OpenAI({ ...service, maxTokens: TOKENS });
const talker = new ChatOpenAI({ ...service, maxTokens: TOKENS });

await main({
  async call() {
    same(await writer.invoke(PROMPT), TEXT);
    same((await talker.invoke(PROMPT)).content, ANSWER);
  },
  async stream() {
    let text = "";
    for await (const part of await writer.stream(PROMPT)) text += part;
    same(text, TEXT);
    let answer = "";
    for await (const part of await talker.stream(PROMPT)) answer += part.content;
    same(answer, ANSWER);
  },
  async cancel() {
    const leaving = new AbortController();
    const long = new ChatOpenAI({ ...service, maxTokens: MANY });
    await fails(async () => {
      for await (const part of await long.stream(PROMPT, { signal: leaving.signal }))
        if (part.content) leaving.abort();
      throw new Error("it ended");
    });
    await hasLeft();
  },
  async error() {
    const error = await fails(() => new ChatOpenAI({ ...service, temperature: 9 }).invoke(PROMPT));
    same(error.message.includes("`temperature` must be less than or equal to 2"), true);
  },
  async retry() {
    same((await talker.invoke(PROMPT)).content, ANSWER);
  },
});
