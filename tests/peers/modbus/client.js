// A Modbus client on modbus-serial: reads a line of JSON, answers with one. With three files it goes through TLS.
//   node modbus/client.js PORT [CA CERTIFICATE KEY]
// {"pipeline": [{"unit", "fc", "address", "count" | "value"}, ...]}: all sent before the first answer is awaited.
"use strict";

const fs = require("fs");
const readline = require("readline");
const tls = require("tls");
const ModbusRTU = require("modbus-serial");

const ANSWER_MS = 20000;
const [port, ca, cert, key] = process.argv.slice(2);

function secured() {
  return new Promise((resolve, reject) => {
    const socket = tls.connect(
      {
        host: "127.0.0.1", port: Number(port), servername: "localhost",
        ca: fs.readFileSync(ca), cert: fs.readFileSync(cert), key: fs.readFileSync(key),
      },
      () => resolve(socket),
    );
    socket.once("error", reject);
  });
}

async function connected() {
  const client = new ModbusRTU();
  client.setTimeout(ANSWER_MS);
  if (ca) {
    await client.linkTCP(await secured());
  } else {
    await client.connectTCP("127.0.0.1", { port: Number(port) });
  }
  return client;
}

// The client's own promises need its unit id at the moment of asking; its functions with a callback take it along.
function asked(client, { unit, fc, address, count, value }) {
  return new Promise((resolve) => {
    const done = (error, answer) => {
      if (error) {
        resolve({ code: error.modbusCode, text: String(error.message) });
      } else {
        const { data, ...others } = answer;
        resolve(data === undefined ? others : { data: [...data].slice(0, count) });
      }
    };
    switch (fc) {
      case 1: return client.writeFC1(unit, address, count, done);
      case 2: return client.writeFC2(unit, address, count, done);
      case 3: return client.writeFC3(unit, address, count, done);
      case 4: return client.writeFC4(unit, address, count, done);
      case 5: return client.writeFC5(unit, address, value, done);
      case 6: return client.writeFC6(unit, address, value, done);
      default: return done(new Error(`function ${fc}`));
    }
  });
}

async function main() {
  const client = await connected();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { pipeline } = JSON.parse(line);
    const answers = await Promise.all(pipeline.map((each) => asked(client, each)));
    process.stdout.write(`${JSON.stringify(answers)}\n`);
  }
  client.close(() => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
