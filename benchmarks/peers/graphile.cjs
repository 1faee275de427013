"use strict";
const { makeWorkerUtils, run } = require("graphile-worker");
const { main } = require("./script.cjs");

const quiet = { debug() {}, info() {}, warning() {}, error: console.error };

async function work(url, tally, concurrency) {
  const { Logger } = require("graphile-worker");
  await run({
    connectionString: url,
    logger: new Logger(() => (level, message) => quiet[level]?.(message)),
    taskList: { perform: (payload) => tally.perform(payload) },
    preset: {
      worker: {
        concurrentJobs: concurrency,
        maxPoolSize: 20,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  });
}

async function open(url) {
  const utils = await makeWorkerUtils({ connectionString: url });
  return {
    migrate: () => utils.migrate(),
    enqueue: (payload) => utils.addJob("perform", payload),
    enqueueMany: (payloads) =>
      utils.addJobs(payloads.map((payload) => ({ identifier: "perform", payload }))),
  };
}

main(work, open);
