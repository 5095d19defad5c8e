// One visit of node-opcua with certificates: reads a JSON order on standard input, writes one JSON line, ends.
"use strict";

console.log = console.warn = console.error; // the library talks; standard output is for the answer

const fs = require("node:fs");
const {
  AttributeIds,
  ClientMonitoredItem,
  ClientSubscription,
  DataType,
  MessageSecurityMode,
  OPCUAClient,
  SecurityPolicy,
  TimestampsToReturn,
  UserTokenType,
  Variant,
} = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager"); // of node-opcua-client

function identity(order) {
  if (order.user) return { type: UserTokenType.UserName, userName: order.user, password: order.password };
  if (order.userCertificate) {
    return {
      type: UserTokenType.Certificate,
      certificateData: fs.readFileSync(order.userCertificate),
      privateKey: fs.readFileSync(order.userKey, "utf8"),
    };
  }
  return { type: UserTokenType.Anonymous };
}

// What an operator does beside reading: a stop by its method, an alarm acknowledged, a look back.
async function operate(session, { pump, condition, past }) {
  const stop = await session.call({
    objectId: pump,
    methodId: "ns=2;s=types/PumpType/EmergencyStop",
    inputArguments: [new Variant({ dataType: DataType.String, value: "a leak" })],
  });
  const event = await session.read({ nodeId: `${condition}/EventId`, attributeId: AttributeIds.Value });
  const seen = await session.acknowledgeCondition(condition, event.value.value, "on my way");
  const history = await session.readHistoryValue(past, new Date("2026-11-21T12:00:00Z"), new Date("2026-11-21T13:00:00Z"));
  return {
    stop: stop.statusCode.name,
    seen: seen.name,
    history: history.historyData.dataValues.map((one) => one.value.value),
  };
}

async function visit(order) {
  const clientCertificateManager = new OPCUACertificateManager({
    rootFolder: order.folder,
    automaticallyAcceptUnknownCertificate: true, // the server is ours; whom it lets in is what is tested
  });
  await clientCertificateManager.initialize();
  const client = OPCUAClient.create({
    applicationName: "calejo-test",
    applicationUri: order.uri,
    certificateFile: order.certificate,
    privateKeyFile: order.key,
    clientCertificateManager,
    connectionStrategy: { maxRetry: 0, initialDelay: 100, maxDelay: 200 },
    endpointMustExist: true,
    securityMode: MessageSecurityMode[order.mode],
    securityPolicy: SecurityPolicy[order.policy],
  });
  try {
    await client.connect(order.url);
    const session = await client.createSession(identity(order));
    const read = await session.read({ nodeId: order.node, attributeId: AttributeIds.Value });
    const written = await session.write({
      nodeId: order.node,
      attributeId: AttributeIds.Value,
      value: { value: { dataType: DataType.Double, value: 12.5 } },
    });
    const subscription = ClientSubscription.create(session, {
      requestedPublishingInterval: 100, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10,
      publishingEnabled: true,
    });
    const item = ClientMonitoredItem.create(
      subscription,
      { nodeId: order.node, attributeId: AttributeIds.Value },
      { samplingInterval: 0, queueSize: 1 },
      TimestampsToReturn.Both,
    );
    const change = await new Promise((resolve) => item.on("changed", resolve));
    await subscription.terminate();
    const answer = { read: read.value.value, written: written.name, change: change.value.value };
    if (order.operates) Object.assign(answer, await operate(session, order.operates));
    await session.close();
    return answer;
  } finally {
    await client.disconnect();
    await clientCertificateManager.dispose();
  }
}

const order = JSON.parse(fs.readFileSync(0, "utf8"));
visit(order).then(
  (result) => process.stdout.write(`${JSON.stringify(result)}\n`),
  (error) => process.stdout.write(`${JSON.stringify({ refused: String(error && error.message) })}\n`),
).then(() => process.exit(0));
