// BullMQ's limiter, which counts in Redis for all workers, in fixed windows.
"use strict";
const { Queue, Worker, RateLimitError } = require("bullmq");

const [verb, store] = process.argv.slice(2);
const url = new URL(store);
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
const MODELS = { image: "gemini-image", text: "gemini-text" };

async function perform(kind, job, worker) {
  const answer = await fetch(
    `${process.env.BENCH_PROVIDER}/v1beta/models/${MODELS[kind]}:generateContent`,
    {
      method: "POST",
      headers: { "content-type": "application/json", "x-goog-api-key": "key" },
      body: JSON.stringify({ contents: [{ parts: [{ text: `${kind} ${job.data.n}` }] }] }),
    },
  );
  if (answer.status === 429) {
    const details = (await answer.json()).error.details ?? [];
    const delay = details.map((detail) => detail.retryDelay).find(Boolean);
    await worker.rateLimit(1000 * parseFloat(delay ?? "1s"));
    throw new RateLimitError();
  }
  await answer.arrayBuffer();
  if (!answer.ok) throw new Error(`status ${answer.status}`);
}

function work() {
  const limits = { image: { limiter: { max: 60, duration: 6000 } }, text: {} };
  for (const kind of Object.keys(MODELS)) {
    const options = { connection, concurrency: 12, ...limits[kind] };
    const worker = new Worker(kind, (job) => perform(kind, job, worker), options);
    worker.on("error", () => {});
  }
  process.stdin.on("end", () => process.exit(0)).resume();
}

async function submit() {
  const queues = Object.keys(MODELS).map((kind) => [kind, new Queue(kind, { connection })]);
  const named = Object.fromEntries(queues);
  for await (const line of require("node:readline").createInterface({ input: process.stdin })) {
    const [kind, n] = line.split(" ");
    const retries = { attempts: 5, backoff: { type: "exponential", delay: 1000 } };
    await named[kind].add(kind, { n: Number(n) }, retries);
    console.log(n);
  }
  process.exit(0);
}

if (verb === "work") work();
else submit();
