// Vercel's `ai`, with its provider for services that speak OpenAI's API.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, jsonSchema, streamText } from "ai";
import { ANSWER, MANY, MODEL, PROMPT, TOKENS, URL, fails, hasLeft, main, same } from "./common.mjs";

const provider = createOpenAICompatible({
  name: "gpt2",
  baseURL: `${URL}/v1`,
  apiKey: "none",
  supportsStructuredOutputs: true,
});
const model = provider.chatModel(MODEL);
const asked = { model, prompt: PROMPT, temperature: 0, maxOutputTokens: TOKENS };

await main({
  async call() {
    same((await generateText(asked)).text, ANSWER);
    const schema = jsonSchema({
      type: "object",
      properties: { name: { enum: ["cat", "dog"] } },
      required: ["name"],
      additionalProperties: false,
    });
    const { object } = await generateObject({ ...asked, schema, maxOutputTokens: 40 });
    same(["cat", "dog"].includes(object.name), true);
  },
  async stream() {
    const { textStream } = streamText(asked);
    let text = "";
    for await (const part of textStream) text += part;
    same(text, ANSWER);
  },
  async cancel() {
    const leaving = new AbortController();
    const long = { ...asked, maxOutputTokens: MANY, abortSignal: leaving.signal };
    for await (const part of streamText({ ...long, onError() {} }).textStream)
      if (part) leaving.abort();
    await hasLeft();
  },
  async error() {
    const error = await fails(() => generateText({ ...asked, temperature: 9 }));
    same(error.message, "`temperature` must be less than or equal to 2");
  },
  async retry() {
    same((await generateText(asked)).text, ANSWER);
  },
});
