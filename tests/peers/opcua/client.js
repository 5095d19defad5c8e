// An OPC UA client on node-opcua: reads one JSON command per line, answers with one JSON line.
"use strict";

console.log = console.error; // the library talks; standard output is for answers

const readline = require("node:readline");
const {
  AttributeIds,
  ClientMonitoredItem,
  ClientMonitoredItemGroup,
  ClientSubscription,
  DataType,
  MessageSecurityMode,
  OPCUAClient,
  SecurityPolicy,
  TimestampsToReturn,
  UserTokenType,
  Variant,
  VariantArrayType,
  constructEventFilter,
  makeBrowsePath,
  ofType,
} = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager"); // of node-opcua-client

// Without options: no security, nobody, and a connection that is lost is not looked for again.
const options = JSON.parse(process.argv[3] || "{}");
let client;
let session;
let subscription;
let reconnections = 0;
const watched = [];
const notifications = [];
const events = [];
const eventFields = [
  "EventId", "EventType", "SourceNode", "SourceName", "Time", "Message", "Severity", "ConditionName", "Retain",
  "AckedState.Id", "ActiveState.Id", "Comment", "ClientUserId",
];

function plain(dataValue) {
  return {
    value: dataValue.value ? dataValue.value.value : null,
    type: dataValue.value ? DataType[dataValue.value.dataType] : null,
    status: dataValue.statusCode.name,
    source: dataValue.sourceTimestamp ? dataValue.sourceTimestamp.toISOString() : null,
    server: dataValue.serverTimestamp ? dataValue.serverTimestamp.toISOString() : null,
  };
}

const commands = {
  async hello() {
    const made = {
      applicationName: "calejo-test",
      connectionStrategy: options.strategy || { maxRetry: 1, initialDelay: 100, maxDelay: 200 },
      endpointMustExist: true,
      securityMode: MessageSecurityMode.None,
      securityPolicy: SecurityPolicy.None,
    };
    const secure = options.secure;
    if (secure) {
      made.clientCertificateManager = new OPCUACertificateManager({
        rootFolder: secure.folder,
        automaticallyAcceptUnknownCertificate: true, // the server is ours; whom it lets in is what is tested
      });
      await made.clientCertificateManager.initialize();
      made.applicationUri = secure.uri;
      made.certificateFile = secure.certificate;
      made.privateKeyFile = secure.key;
      made.securityMode = MessageSecurityMode[secure.mode];
      made.securityPolicy = SecurityPolicy[secure.policy];
    }
    client = OPCUAClient.create(made);
    client.on("connection_reestablished", () => { reconnections += 1; });
    await client.connect(process.argv[2]);
    session = await client.createSession(
      secure ? { type: UserTokenType.UserName, userName: secure.user, password: secure.password } : undefined,
    );
    return "connected";
  },
  // Watches by itself from now on, whatever becomes of the server: nothing more is asked of this client.
  async watch({ nodes, interval }) {
    subscription = ClientSubscription.create(session, {
      requestedPublishingInterval: interval, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10,
      maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1,
    });
    const group = ClientMonitoredItemGroup.create(
      subscription,
      nodes.map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value })),
      { samplingInterval: 0, discardOldest: true, queueSize: 10 },
      TimestampsToReturn.Both,
    );
    await new Promise((resolve) => group.on("initialized", resolve));
    group.on("changed", (item, dataValue, index) => {
      if (watched.length >= 5000) watched.shift();
      watched.push({ node: nodes[index], at: Date.now(), ...plain(dataValue) });
    });
    return group.monitoredItems.map((one) => one.statusCode.name);
  },
  async watched() {
    return { reconnections, changes: watched.splice(0) };
  },
  async namespaces() {
    return session.readNamespaceArray();
  },
  async browse({ node }) {
    const result = await session.browse(node);
    return result.references.map((reference) => ({
      name: reference.browseName.name,
      node: reference.nodeId.toString(),
      type: reference.typeDefinition.toString(),
    }));
  },
  async property({ node, name }) {
    const result = await session.browse({
      nodeId: node, referenceTypeId: "HasProperty", includeSubtypes: true, browseDirection: 0,
      nodeClassMask: 0, resultMask: 63,
    });
    const found = result.references.find((reference) => reference.browseName.name === name);
    const value = (await session.read({ nodeId: found.nodeId, attributeId: AttributeIds.Value })).value.value;
    return { unit: value.displayName.text, id: value.unitId };
  },
  async translate({ start, path }) {
    const result = await session.translateBrowsePath(makeBrowsePath(start, path));
    return result.targets.map((target) => target.targetId.toString());
  },
  async read({ nodes, attribute }) {
    const attributeId = AttributeIds[attribute || "Value"];
    return (await session.read(nodes.map((nodeId) => ({ nodeId, attributeId })))).map(plain);
  },
  async write({ items }) {
    const nodesToWrite = items.map(({ node, type, value, attribute }) => ({
      nodeId: node,
      attributeId: AttributeIds[attribute || "Value"],
      value: { value: { dataType: DataType[type], value } },
    }));
    return (await session.write(nodesToWrite)).map((code) => code.name);
  },
  async subscribe({ nodes, interval }) {
    subscription = ClientSubscription.create(session, {
      requestedPublishingInterval: interval, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10,
      maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1,
    });
    subscription.on("raw_notification", (message) => {
      for (const data of message.notificationData || []) {
        notifications.push(
          (data.monitoredItems || []).map((one) => ({
            node: nodes[one.clientHandle - subscription.firstHandle] || one.clientHandle,
            ...plain(one.value),
          })),
        );
      }
    });
    await new Promise((resolve, reject) => {
      subscription.on("started", resolve);
      subscription.on("internal_error", reject);
    });
    const group = ClientMonitoredItemGroup.create(
      subscription,
      nodes.map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value })),
      { samplingInterval: 0, discardOldest: true, queueSize: 10 },
      TimestampsToReturn.Both,
    );
    await new Promise((resolve) => group.on("initialized", resolve));
    subscription.firstHandle = Math.min(...group.monitoredItems.map((one) => one.monitoringParameters.clientHandle));
    return group.monitoredItems.map((one) => one.statusCode.name);
  },
  async notifications() {
    return notifications.splice(0);
  },
  async listen({ node, type }) {
    if (!subscription) {
      subscription = await session.createSubscription2({
        requestedPublishingInterval: 50, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10,
        maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1,
      });
    }
    const filter = constructEventFilter([...eventFields, "ConditionId"], type ? ofType(type) : undefined);
    const item = ClientMonitoredItem.create(
      subscription,
      { nodeId: node, attributeId: AttributeIds.EventNotifier },
      { samplingInterval: 0, discardOldest: true, queueSize: 100, filter },
    );
    item.on("changed", (fields) => {
      const told = {};
      [...eventFields, "ConditionId"].forEach((name, index) => {
        const value = fields[index].value;
        if (value === null || value === undefined) told[name] = null;
        else if (Buffer.isBuffer(value)) told[name] = value.toString("hex");
        else if (value.text !== undefined) told[name] = value.text;
        else if (typeof value === "object" && !(value instanceof Date)) told[name] = value.toString();
        else told[name] = value;
      });
      events.push(told);
    });
    await new Promise((resolve, reject) => {
      item.on("initialized", resolve);
      item.on("err", (message) => reject(new Error(message)));
    });
    return item.statusCode.name;
  },
  async events() {
    return events.splice(0);
  },
  async refresh() {
    const answer = await session.call({
      objectId: "i=2782", methodId: "i=3875",
      inputArguments: [new Variant({ dataType: DataType.UInt32, value: subscription.subscriptionId })],
    });
    return answer.statusCode.name;
  },
  async acknowledge({ condition, event, comment }) {
    return (await session.acknowledgeCondition(condition, Buffer.from(event, "hex"), comment)).name;
  },
  async call({ object, method, inputs }) {
    const answer = await session.call({
      objectId: object, methodId: method,
      inputArguments: inputs.map(([type, value]) => new Variant(
        Array.isArray(value)
          ? { dataType: DataType[type], arrayType: VariantArrayType.Array, value }
          : { dataType: DataType[type], value },
      )),
    });
    return {
      status: answer.statusCode.name,
      inputs: (answer.inputArgumentResults || []).map((code) => code.name),
      outputs: (answer.outputArguments || []).map((one) => Array.from(one.value)),
    };
  },
  async arguments({ method }) {
    const definition = await session.getArgumentDefinition(method);
    return {
      inputs: definition.inputArguments.map((one) => one.name),
      outputs: definition.outputArguments.map((one) => one.name),
    };
  },
  async history({ node, start, end }) {
    const result = await session.readHistoryValue(node, new Date(start), new Date(end));
    const data = result.historyData ? result.historyData.dataValues || [] : [];
    return { status: result.statusCode.name, values: data.map(plain) };
  },
  async bye() {
    if (subscription) await subscription.terminate();
    await session.close();
    await client.disconnect();
    if (client.clientCertificateManager) await client.clientCertificateManager.dispose();
    return "gone";
  },
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
