"""One scenario of interop-peers.test.ts: paho_peer.py SCENARIO HOST PORT TRANSPORT. Prints "SCENARIO: ok" or a traceback."""

import queue
import sys
import uuid

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 20
SCENARIO, HOST, PORT, TRANSPORT = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
VERSIONS = (mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5)


def unique(prefix):
    return prefix + uuid.uuid4().hex[:16]


def properties(packet_type, **values):
    result = Properties(packet_type)
    for name, value in values.items():
        setattr(result, name, value)
    return result


class Peer:
    """A client whose callbacks are queues; every wait ends with an error after PATIENCE seconds."""

    def __init__(self, version, client_id=None, clean=True, expiry=None, will=None):
        self.version = version
        self.connected, self.messages = queue.Queue(), queue.Queue()
        self.subscribed, self.unsubscribed = queue.Queue(), queue.Queue()
        self.disconnected = queue.Queue()
        client_id = unique("c") if client_id is None else client_id
        clean_session = None if version == mqtt.MQTTv5 else clean
        self.client = mqtt.Client(client_id, clean_session, protocol=version, transport=TRANSPORT)
        self.client.on_connect = lambda client, data, flags, *rest: self.connected.put((flags, *rest))
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_subscribe = lambda client, data, mid, granted, *rest: self.subscribed.put(granted)
        self.client.on_unsubscribe = lambda client, data, mid, *rest: self.unsubscribed.put(mid)
        self.client.on_disconnect = lambda client, data, code, *rest: self.disconnected.put(code)
        if will is not None:
            self.client.will_set(*will)
        arguments = {}
        if version == mqtt.MQTTv5:
            arguments["clean_start"] = clean
            if expiry is not None:
                arguments["properties"] = properties(PacketTypes.CONNECT, SessionExpiryInterval=expiry)
        self.client.connect(HOST, PORT, **arguments)
        self.client.loop_start()
        self.flags, self.code, *self.rest = self.connected.get(timeout=PATIENCE)
        assert self.code == 0, self.code

    def subscribe(self, *arguments, **named):
        self.client.subscribe(*arguments, **named)
        return self.subscribed.get(timeout=PATIENCE)

    def publish(self, *arguments, **named):
        self.client.publish(*arguments, **named).wait_for_publish(PATIENCE)

    def receive(self):
        return self.messages.get(timeout=PATIENCE)

    def close(self):
        self.client.disconnect()
        self.disconnected.get(timeout=PATIENCE)
        self.client.loop_stop()

    def vanish(self):
        """Closes the connection without DISCONNECT."""
        self.client.loop_stop()
        self.client._sock_close()


def qos():
    for version in VERSIONS:
        topic = unique("t")
        peer = Peer(version)
        peer.subscribe(topic, 2)
        for level in (0, 1, 2):
            peer.publish(topic, "at %d" % level, level)
            message = peer.receive()
            assert (message.payload, message.qos) == (b"at %d" % level, level), message.payload
        peer.client.unsubscribe(topic)
        peer.unsubscribed.get(timeout=PATIENCE)
        peer.close()


def order():
    for version in VERSIONS:
        for level in (0, 1, 2):
            topic = unique("t")
            receiver, sender = Peer(version), Peer(version)
            receiver.subscribe(topic, level)
            for index in range(200):
                sender.client.publish(topic, str(index), level)
            received = [int(receiver.receive().payload) for _ in range(200)]
            assert received == list(range(200)), received
            receiver.close()
            sender.close()


def retained():
    for version in VERSIONS:
        topic = unique("t")
        peer = Peer(version)
        peer.publish(topic, "kept", 1, True)
        peer.subscribe(topic, 1)
        message = peer.receive()
        assert (message.payload, message.retain) == (b"kept", True)
        peer.publish(topic, None, 1, True)
        assert peer.receive().payload == b""
        late = Peer(version)
        late.subscribe(topic, 1)
        peer.publish(topic, "live", 1)
        message = late.receive()
        assert (message.payload, message.retain) == (b"live", False)
        peer.close()
        late.close()


def will():
    for version in VERSIONS:
        topic = unique("w")
        watcher = Peer(version)
        watcher.subscribe(topic, 2)
        Peer(version, will=(topic, "polite", 1)).close()
        Peer(version, will=(topic, "gone", 2)).vanish()
        message = watcher.receive()
        assert (message.payload, message.qos) == (b"gone", 2), message.payload
        watcher.close()


def session():
    for version in VERSIONS:
        topic, client_id = unique("t"), unique("c")
        expiry = 600 if version == mqtt.MQTTv5 else None
        first = Peer(version, client_id, clean=False, expiry=expiry)
        first.subscribe(topic, 2)
        first.close()
        sender = Peer(version)
        for level in (1, 2):
            sender.publish(topic, "at %d" % level, level)
        second = Peer(version, client_id, clean=False, expiry=expiry)
        assert version == mqtt.MQTTv31 or second.flags["session present"] == 1
        assert [second.receive().payload for _ in range(2)] == [b"at 1", b"at 2"]
        sender.close()
        second.close()


def properties_on_publish():
    topic = unique("t")
    peer = Peer(mqtt.MQTTv5)
    identifier = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=5)
    peer.subscribe(topic, options=SubscribeOptions(qos=1), properties=identifier)
    sent = properties(
        PacketTypes.PUBLISH,
        ContentType="text/plain",
        ResponseTopic="answers",
        CorrelationData=b"\x00\xff",
        PayloadFormatIndicator=1,
        MessageExpiryInterval=3600,
        UserProperty=[("b", "1"), ("a", "2"), ("b", "1")],
    )
    peer.publish(topic, "p", 1, properties=sent)
    received = peer.receive().properties
    assert received.ContentType == "text/plain"
    assert received.ResponseTopic == "answers"
    assert received.CorrelationData == b"\x00\xff"
    assert received.PayloadFormatIndicator == 1
    assert received.MessageExpiryInterval in (3599, 3600)
    assert received.UserProperty == [("b", "1"), ("a", "2"), ("b", "1")], received.UserProperty
    assert received.SubscriptionIdentifier == [5], received.SubscriptionIdentifier
    peer.close()


def options():
    topic = unique("t")
    peer, other = Peer(mqtt.MQTTv5), Peer(mqtt.MQTTv5)
    other.publish(topic, "kept", 1, True)
    never = SubscribeOptions.RETAIN_DO_NOT_SEND
    peer.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True, retainHandling=never))
    peer.publish(topic, "own", 1)
    other.publish(topic, "other", 1, True)
    message = peer.receive()
    assert (message.payload, message.retain) == (b"other", True), message.payload
    other.publish(topic, None, 1, True)
    peer.close()
    other.close()


def shared():
    topic = unique("t")
    members = [Peer(mqtt.MQTTv5) for _ in range(3)]
    for member in members:
        member.subscribe("$share/group/" + topic, 1)
    sender = Peer(mqtt.MQTTv5)
    for index in range(30):
        sender.publish(topic, str(index), 1)
    received = []
    for member in members:
        own = [int(member.receive().payload) for _ in range(10)]
        received += own
    assert sorted(received) == list(range(30)), received
    for peer in (*members, sender):
        peer.close()


def request():
    topic, answers = unique("t"), unique("r")
    asking, answering = Peer(mqtt.MQTTv5), Peer(mqtt.MQTTv5)
    asking.subscribe(answers, 1)
    answering.subscribe(topic, 1)
    ask = properties(PacketTypes.PUBLISH, ResponseTopic=answers, CorrelationData=b"7")
    asking.publish(topic, "6 * 7?", 1, properties=ask)
    asked = answering.receive().properties
    answer = properties(PacketTypes.PUBLISH, CorrelationData=asked.CorrelationData)
    answering.publish(asked.ResponseTopic, "42", 1, properties=answer)
    answered = asking.receive()
    assert (answered.payload, answered.properties.CorrelationData) == (b"42", b"7")
    asking.close()
    answering.close()


def assigned():
    first, second = Peer(mqtt.MQTTv5, ""), Peer(mqtt.MQTTv5, "")
    ids = {peer.rest[0].AssignedClientIdentifier for peer in (first, second)}
    assert len(ids) == 2 and "" not in ids, ids
    first.close()
    second.close()


def takeover():
    client_id = unique("c")
    first = Peer(mqtt.MQTTv5, client_id)
    first.client.reconnect_delay_set(60, 60)
    second = Peer(mqtt.MQTTv5, client_id)
    code = first.disconnected.get(timeout=PATIENCE)
    assert getattr(code, "value", code) == 0x8E, code
    first.client.loop_stop()
    second.close()


SCENARIOS = {
    "qos": qos,
    "order": order,
    "retained": retained,
    "will": will,
    "session": session,
    "properties": properties_on_publish,
    "options": options,
    "shared": shared,
    "request": request,
    "assigned": assigned,
    "takeover": takeover,
}

SCENARIOS[SCENARIO]()
print(SCENARIO + ": ok")
