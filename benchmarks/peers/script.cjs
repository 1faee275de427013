// What the scripts of Node peers share: the verbs of script.py, and the tally of tally.py.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const now = () => performance.timeOrigin / 1000 + performance.now() / 1000;
const cpu = () => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6;

class Tally {
  constructor(folder, expected) {
    this.folder = folder;
    this.expected = expected;
    this.begun = this.ended = 0;
    this.entries = fs.openSync(path.join(folder, "began"), "a");
  }
  begin() {
    this.begun += 1;
    if (this.begun === 1 || this.expected === 0) {
      fs.writeSync(this.entries, `${now()} ${cpu()}\n`);
    }
  }
  end() {
    this.ended += 1;
    if (this.ended === this.expected) {
      const noted = path.join(this.folder, "ended.new");
      fs.writeFileSync(noted, `${now()} ${cpu()}`);
      fs.renameSync(noted, path.join(this.folder, "ended"));
    }
  }
  async perform(payload) {
    this.begin();
    if (payload.seconds) await sleep(payload.seconds);
    this.end();
  }
}

const VERBS = {
  migrate: (client) => client.migrate(),
  async enqueue(client, count) {
    await client.enqueue({ n: 1 });
    const started = now();
    for (let n = 0; n < count; n++) await client.enqueue({ n });
    return count / (now() - started);
  },
  async enqueue_many(client, count, seconds) {
    const payloads = Array.from({ length: count }, (_, n) => (seconds ? { seconds } : { n }));
    const started = now();
    await client.enqueueMany(payloads);
    return count / (now() - started);
  },
  async pickups(client, count) {
    const returned = [];
    for (let n = 0; n < count; n++) {
      await sleep(0.05 + 0.01 * (n % 7));
      await client.enqueue({ n });
      returned.push(now());
    }
    return returned;
  },
};

async function main(work, open) {
  const [verb, url, ...rest] = process.argv.slice(2);
  if (verb === "work") {
    process.stdin.on("end", () => process.exit(1)).resume(); // it must not outlive the harness
    const tally = new Tally(rest[0], Number(rest[1]));
    await work(url, tally, Number(rest[2]));
    return;
  }
  const answer = await VERBS[verb](await open(url), ...rest.map(Number));
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`, () => process.exit(0));
}

module.exports = { main };
