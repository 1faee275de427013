"use strict";
const { PgBoss } = require("pg-boss");
const { main } = require("./script.cjs");

async function start(url) {
  const boss = new PgBoss({ connectionString: url, max: 20, useListenNotify: true });
  boss.on("error", console.error);
  await boss.start();
  return boss;
}

async function work(url, tally, concurrency) {
  const boss = await start(url);
  const options = { batchSize: concurrency, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
  await boss.work("perform", options, (jobs) =>
    Promise.all(jobs.map((job) => tally.perform(job.data))).then(() => {}),
  );
}

async function open(url) {
  const boss = await start(url);
  return {
    migrate: () => boss.createQueue("perform", { notify: true }),
    enqueue: (payload) => boss.send("perform", payload),
    enqueueMany: (payloads) => boss.insert("perform", payloads.map((data) => ({ data }))),
  };
}

main(work, open);
