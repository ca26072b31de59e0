// OpenAI's package for Node: its tool runner, its parsing helpers with zod, its streams.
//
// The packages lie in GIMBAL_NODE_MODULES; what is asked is that of given.py.

import assert from "node:assert";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.GIMBAL_NODE_MODULES, "index.js"));
const { OpenAI } = require("openai");
const { zodFunction, zodResponseFormat } = require("openai/helpers/zod");
const { z } = require("zod");

const baseURL = `${process.env.GIMBAL_URL}/v1`;
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const asked = { model: process.env.GIMBAL_MODEL, temperature: 0, max_tokens: 200 };
const question = [{ role: "user", content: "What is the weather in Paris, in celsius?" }];
const describe = [{ role: "user", content: "Describe the city of Paris." }];
const City = z.strictObject({
  name: z.string().max(20),
  continent: z.enum(["Africa", "America", "Asia", "Europe"]),
  population: z.int().min(0).max(40_000_000),
  is_capital: z.boolean(),
});

/** The tool, and what it was called with. */
function weather() {
  const calls = [];
  const parameters = z.strictObject({
    city: z.string().max(30),
    unit: z.enum(["celsius", "fahrenheit"]),
  });
  const run = (given) => {
    calls.push(parameters.parse(given));
    return "It is 21 degrees and sunny.";
  };
  return { calls, tool: zodFunction({ name: "get_weather", parameters, function: run }) };
}

const checks = {
  async "tool loop by runTools"() {
    const { calls, tool } = weather();
    const choice = { type: "function", function: { name: "get_weather" } };
    const runner = client.chat.completions.runTools(
      { ...asked, messages: question, tools: [tool], tool_choice: choice },
      { maxChatCompletions: 2 },
    );
    await runner.done();
    assert.equal(calls.length, 1);
    const roles = runner.messages.map((message) => message.role);
    assert.deepEqual(roles, ["user", "assistant", "tool"]);
    const messages = runner.messages;
    const answer = await client.chat.completions.create({ ...asked, messages });
    assert(answer.choices[0].message.content);
  },
  async "typed answer by parse(), whole and streamed"() {
    const form = zodResponseFormat(City, "city");
    const body = { ...asked, messages: describe, response_format: form };
    const whole = (await client.chat.completions.parse(body)).choices[0].message.parsed;
    City.parse(whole);
    const stream = client.chat.completions.stream(body);
    let parts = 0;
    stream.on("content.delta", () => (parts += 1));
    const final = await stream.finalChatCompletion();
    assert.deepEqual(final.choices[0].message.parsed, whole);
    assert(parts > 3);
  },
  async "streamed call equals the whole one"() {
    const tool = zodFunction({ name: "save_city", parameters: City });
    const choice = { type: "function", function: { name: "save_city" } };
    const body = { ...asked, messages: describe, tools: [tool], tool_choice: choice };
    const whole = (await client.chat.completions.parse(body)).choices[0];
    const final = (await client.chat.completions.stream(body).finalChatCompletion()).choices[0];
    const parsed = (choice) => choice.message.tool_calls.map((c) => c.function.parsed_arguments);
    City.parse(parsed(whole)[0]);
    assert.deepEqual(parsed(final), parsed(whole));
    assert.equal(final.finish_reason, whole.finish_reason);
  },
};

for (const [what, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`passed: ${what}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`failed: ${what}\n${error.stack}`);
  }
}
