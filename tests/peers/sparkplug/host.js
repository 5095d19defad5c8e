// A Sparkplug host application on mqtt.js and sparkplug-payload: one JSON command per line in, one JSON line out.
"use strict";

console.log = console.error; // the libraries talk; standard output is for answers

const readline = require("node:readline");
const mqtt = require("mqtt");
const sparkplug = require("sparkplug-payload").get("spBv1.0");
const { org } = require("sparkplug-payload/lib/sparkplugPayloadProto");

const Payload = org.eclipse.tahu.protobuf.Payload;
const [url, hostId] = process.argv.slice(2);
const bornAt = Date.now();
const stateTopic = `spBv1.0/STATE/${hostId}`;
const state = (online) => JSON.stringify({ online, timestamp: bornAt });

// What a host knows of each node: its number, whether it lives, and by alias what its births have named.
const nodes = new Map();
const faults = [];
const seen = [];

const client = mqtt.connect(url, {
  protocolVersion: 5,
  clean: true,
  reconnectPeriod: 100,
  will: { topic: stateTopic, payload: state(false), qos: 1, retain: true },
});
client.on("error", (error) => faults.push(`mqtt: ${error.message}`));

function number(value) {
  return value && typeof value.toNumber === "function" ? value.toNumber() : value;
}

function nodeOf(name) {
  if (!nodes.has(name)) nodes.set(name, { online: false, seq: null, bdSeq: null, aliases: {}, devices: {}, values: {} });
  return nodes.get(name);
}

// Data messages name neither metric nor type: both are the birth's, found by the alias.
function completed(node, raw) {
  const message = Payload.decode(raw);
  for (const metric of message.metrics) {
    const known = node.aliases[String(metric.alias)];
    if (metric.datatype || !metric.hasOwnProperty("alias")) continue;
    if (!known) {
      faults.push(`an alias that no birth has named: ${metric.alias}`);
      continue;
    }
    metric.datatype = known.datatype;
  }
  return sparkplug.decodePayload(Payload.encode(message).finish());
}

function counted(node, payload, verb, topic) {
  const seq = number(payload.seq);
  if (verb === "NBIRTH") {
    if (seq !== 0) faults.push(`${topic}: born with seq ${seq}`);
  } else if (node.seq !== null && seq !== (node.seq + 1) % 256) {
    faults.push(`${topic}: seq ${seq} after ${node.seq}`);
  }
  node.seq = seq;
}

function take(node, device, metrics, { birth, raw }) {
  const place = device || "node";
  if (birth) {
    node.values[place] = {};
    const named = Payload.decode(raw).metrics;
    for (const metric of named) {
      if (!metric.hasOwnProperty("alias")) continue;
      node.aliases[String(metric.alias)] = { device: place, name: metric.name, datatype: metric.datatype };
    }
  }
  for (const metric of metrics) {
    const known = metric.name ? { device: place, name: metric.name } : node.aliases[String(metric.alias)];
    if (!known) continue;
    if (known.device !== place) faults.push(`${place} was sent a value of ${known.device}`);
    const quality = metric.properties && metric.properties.Quality ? metric.properties.Quality.value : null;
    const value = { value: number(metric.value), at: number(metric.timestamp), quality, type: metric.type };
    if (metric.isHistorical) {
      seen.push({ historical: true, device: place, name: known.name, ...value });
      continue;
    }
    node.values[place][known.name] = {
      ...value,
      properties: birth ? metric.properties : (node.values[place][known.name] || {}).properties,
    };
  }
}

client.on("message", (topic, raw) => {
  const [, group, verb, name, device] = topic.split("/");
  if (group === "STATE" || verb === "NCMD" || verb === "DCMD") return;
  const node = nodeOf(name);
  if (!node.online && !["NBIRTH", "NDEATH"].includes(verb)) {
    // Met in the middle of its session: a host asks it to begin anew.
    client.publish(`spBv1.0/${group}/NCMD/${name}`, encoded([{ name: "Node Control/Rebirth", type: "Boolean", value: true }]));
    return;
  }
  const payload = verb.endsWith("DATA") ? completed(node, raw) : sparkplug.decodePayload(raw);
  const metrics = payload.metrics || [];
  seen.push({ verb, device: device || null, seq: number(payload.seq) });
  if (verb === "NDEATH") {
    const bdSeq = number(metrics[0].value);
    if (bdSeq === node.bdSeq) node.online = false, node.seq = null;
    return;
  }
  counted(node, payload, verb, topic);
  if (verb === "NBIRTH") {
    node.online = true, node.devices = {}, node.aliases = {}, node.values = {};
    node.bdSeq = number(metrics.find((metric) => metric.name === "bdSeq").value);
  }
  if (verb === "DBIRTH") node.devices[device] = true;
  if (verb === "DDEATH") return void (node.devices[device] = false);
  take(node, device, metrics, { birth: verb.endsWith("BIRTH"), raw });
});

function encoded(metrics, timestamp = Date.now()) {
  return Buffer.from(sparkplug.encodePayload({ timestamp, metrics }));
}

const commands = {
  hello: () =>
    new Promise((resolve, reject) => {
      const begin = () =>
        client.subscribe([stateTopic, "spBv1.0/#"], { qos: 1 }, (error) => {
          if (error) return reject(error);
          client.publish(stateTopic, state(true), { qos: 1, retain: true }, () => resolve("connected"));
        });
      client.connected ? begin() : client.once("connect", begin);
    }),
  node: ({ name }) => nodes.get(name) || null,
  faults: () => faults,
  seen: () => seen.splice(0),
  command: ({ topic, metrics, timestamp, retain }) =>
    new Promise((resolve, reject) =>
      client.publish(topic, encoded(metrics, timestamp), { qos: 0, retain: retain || false }, (error) =>
        error ? reject(error) : resolve("sent"),
      ),
    ),
  bye: () =>
    new Promise((resolve) =>
      client.publish(stateTopic, state(false), { qos: 1, retain: true }, () => client.end(false, () => resolve("gone"))),
    ),
};

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { command, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = { result: await commands[command](rest) };
  } catch (error) {
    answer = { error: String(error && error.message), stack: String(error && error.stack) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
  if (command === "bye") process.exitCode = 0, process.stdin.destroy();
});
