import { type CapturedFrame } from "@postern/zigbee/capture/captured-frame";
import { Dissector, type DissectorOptions } from "@postern/zigbee/dissector";
import { Harvester } from "@postern/zigbee/harvest";
import { type CbkeSecrets } from "@postern/zigbee/key-establishment/cbke-harvester";
import { type KeyOrigin, type Keyring, type KeyUse, type ZigbeeKey } from "@postern/zigbee/keyring";

import { type Finding } from "../finding.ts";
import { AuditContext, type Detector } from "./context.ts";
import { ExpectationDetector, type Expectations } from "./expectations.ts";
import { AcknowledgmentDetector } from "./acknowledgments.ts";
import { Forecast } from "./forecast.ts";
import { FrameCounterDetector } from "./frame-counters.ts";
import { IdentityDetector } from "./identity.ts";
import { InventoryDetector, type SeenNetwork } from "./inventory.ts";
import { KeyTransportDetector } from "./key-transport.ts";
import { MembershipDetector } from "./membership.ts";
import { ProtectionDetector } from "./protection.ts";
import { type CaptureFacts, isTrusted, panOf, Survey } from "./survey.ts";
import { BroadcastDetector, JammingDetector } from "./traffic.ts";

/** Passes that look for keys: each can find a key that opens the frame in which the next one stands. */
const harvestPassesMax = 8;
/** Frames from which the rest of a long capture is foretold: some minutes of a network. */
const beginningFrames = 5_000;

/** What an audit is made with. */
export interface AuditOptions extends DissectorOptions {
  /** Keys that are known before; those that are found are added. */
  readonly keyring: Keyring;
  /** Whether findings and keys show key bytes. */
  readonly showKeys: boolean;
  /** Secrets of devices that establish keys by certificates. */
  readonly cbkeSecrets?: readonly CbkeSecrets[];
  /** What should be there, if somebody says. */
  readonly expected?: Expectations;
  /**
   * Reads the capture from its beginning and calls `onFrame` for each frame; it is read more than once. May end early when `until`
   * is aborted.
   */
  readonly read: (onFrame: (frame: CapturedFrame) => void, until: AbortSignal) => Promise<void>;
}

/** A key as a report names it. */
export interface ReportedKey {
  /** Its name, its fingerprint, or its bytes if they were asked for. */
  readonly key: string;
  readonly use: KeyUse;
  readonly origin: string;
}

/** What an audit found out. */
export interface AuditReport {
  readonly frames: number;
  readonly damagedFrames: number;
  /** Frames that end early or hold what is not defined. */
  readonly malformedFrames: number;
  readonly securedFrames: number;
  readonly openedFrames: number;
  /** Microseconds from the first frame to the last; `undefined` when the capture has no usable times. */
  readonly durationUs: number | undefined;
  readonly networks: readonly SeenNetwork[];
  /** Keys that were found in the capture or that opened a frame. */
  readonly keys: readonly ReportedKey[];
  readonly findings: readonly Finding[];
  /** Keys were given, none of them opens a frame, and there are frames that none opens: they are the wrong ones. */
  readonly hasWrongKeys: boolean;
  /** What limits the audit of this capture, in sentences. */
  readonly notes: readonly string[];
}

/**
 * Audits a capture in constant memory, as if all keys that stand in it and all facts about it had been known before its first frame.
 * A long one is read once, with what its beginning foretells; when that was wrong or a key came late, and in any short one, it is read
 * until no new key is found, and then once more with all of them. Rejects only when `read` does.
 */
export async function auditZigbee(options: AuditOptions): Promise<AuditReport> {
  const { keyring } = options;
  const known = keyring.size;
  const beginning = await harvestPass(options, beginningFrames);
  let { survey } = beginning;
  let isComplete = beginning.isWhole && keyring.size === known;
  if (!beginning.isWhole) {
    const forecast = new Forecast(survey);
    const { report, counted, cameLate } = await auditPass(
      options,
      forecast,
      new Harvester(keyring, options.cbkeSecrets),
    );
    if (!cameLate && forecast.holds(counted)) return report;
    survey = counted;
    isComplete = !cameLate;
  }
  for (let pass = 0; !isComplete && pass < harvestPassesMax; pass++) {
    const before = keyring.size;
    ({ survey } = await harvestPass(options, Number.POSITIVE_INFINITY));
    isComplete = keyring.size === before;
  }
  const { report } = await auditPass(options, survey, undefined);
  return report;
}

/** Looks for keys in the first frames, and at what is true of them. */
async function harvestPass(
  options: AuditOptions,
  framesMax: number,
): Promise<{ readonly survey: Survey; readonly isWhole: boolean }> {
  const { keyring } = options;
  // Certificates come in application messages, which are passed over where only commands are looked for.
  const keysOnly = !hasRivals(keyring) && options.cbkeSecrets === undefined;
  const dissector = new Dissector(keyring, { ...options, keysOnly });
  const harvester = new Harvester(keyring, options.cbkeSecrets);
  const survey = new Survey();
  const enough = new AbortController();
  let isEnough = false;
  await options.read((frame) => {
    if (isEnough) return;
    if (survey.frames >= framesMax) {
      isEnough = true;
      enough.abort();
      return;
    }
    const dissection = dissector.dissect(frame);
    harvester.take(dissection);
    survey.see(dissection);
  }, enough.signal);
  return { survey, isWhole: !isEnough };
}

/** Applies the rules to a whole capture. `harvester`: takes keys as they come. */
async function auditPass(
  options: AuditOptions,
  facts: CaptureFacts,
  harvester: Harvester | undefined,
): Promise<{
  readonly report: AuditReport;
  readonly counted: Survey;
  /** A key was found after frames that it may open. */
  readonly cameLate: boolean;
}> {
  const { keyring } = options;
  const dissector = new Dissector(keyring, options);
  const context = new AuditContext({ facts, dissector, keyring, showKeys: options.showKeys });
  const inventory = new InventoryDetector(context);
  const jamming = new JammingDetector(context);
  const acknowledgments = new AcknowledgmentDetector(context);
  const identities = new IdentityDetector(context);
  const membership = new MembershipDetector(context);
  const detectors: readonly Detector[] = [
    new KeyTransportDetector(context, keyring),
    new FrameCounterDetector(context),
    new ProtectionDetector(context, identities),
    membership,
    identities,
    new BroadcastDetector(context),
    inventory,
    ...(options.expected === undefined ? [] : [new ExpectationDetector(context, options.expected)]),
  ];
  const counted = new Survey();
  let keyCount = keyring.size;
  let cameLate = false;
  const used = new Set<ZigbeeKey>();
  let lastUsed: ZigbeeKey | undefined;
  await options.read((frame) => {
    const dissection = dissector.dissect(frame);
    counted.see(dissection);
    harvester?.take(dissection);
    if (keyring.size !== keyCount) {
      keyCount = keyring.size;
      cameLate ||= counted.hasUnopened;
    }
    if (dissection.nwkKey !== undefined && dissection.nwkKey !== lastUsed) {
      lastUsed = dissection.nwkKey;
      used.add(lastUsed);
    }
    if (dissection.apsKey !== undefined) used.add(dissection.apsKey);
    jamming.see(dissection);
    const pan = panOf(dissection.mac);
    acknowledgments.see(dissection, pan);
    // Neither belongs to a network.
    const isForAll = dissection.protocol === "inter-pan" || dissection.protocol === "green-power";
    if (pan === -1 && dissection.protocol === "mac" && isTrusted(dissection))
      membership.seeBroadcast(dissection);
    if (!isTrusted(dissection) || (!isForAll && !facts.isZigbee(pan))) return;
    for (const detector of detectors) detector.see(dissection, pan);
  }, new AbortController().signal);
  for (const detector of detectors) detector.finish?.();
  acknowledgments.finish();
  if ([...counted.networks.keys()].some((pan) => facts.isZigbee(pan))) jamming.finish();
  const hasWrongKeys = counted.hasUnopened && counted.macOpenedFrames === 0 && areUseless(keyring, used);
  const report: AuditReport = {
    frames: counted.frames,
    damagedFrames: counted.badFrames,
    malformedFrames: counted.malformedFrames,
    securedFrames: counted.securedFrames,
    openedFrames: counted.openedFrames,
    durationUs: counted.hasTimeBase ? counted.lastUs - counted.firstUs : undefined,
    networks: [...inventory.networks.values()].filter(({ pan }) => facts.isZigbee(pan)),
    keys: reportedKeys(keyring, context),
    findings: context.findings(),
    hasWrongKeys,
    notes: [
      ...(hasWrongKeys
        ? ["None of the keys that were given opens a frame: they are not of this network."]
        : []),
      ...notes(counted),
      ...context.notes,
    ],
  };
  return { report, counted, cameLate };
}

/**
 * Whether two keys could belong to one network and key sequence. Then the one that opened a frame says nothing of the next, and every
 * frame has to be opened to see what is in it.
 */
function hasRivals(keyring: Keyring): boolean {
  return keyring.keys("network").filter(({ origin }) => origin.kind !== "well-known").length > 1;
}

/** Whether keys were given and none of them was of use. */
function areUseless(keyring: Keyring, used: ReadonlySet<ZigbeeKey>): boolean {
  const given = [...keyring.keys("network"), ...keyring.keys("link")].filter(
    ({ origin }) => origin.kind === "given" || origin.kind === "install-code",
  );
  return given.length > 0 && given.every((key) => !used.has(key));
}

function reportedKeys(keyring: Keyring, context: AuditContext): ReportedKey[] {
  const uses: readonly KeyUse[] = ["network", "link", "mac", "green-power"];
  return uses.flatMap((use) =>
    keyring
      .keys(use)
      .filter(({ origin }) => origin.kind !== "well-known" && origin.kind !== "given")
      .map((key) => ({ key: context.keyName(key), use, origin: originText(key.origin, context) })),
  );
}

function originText(origin: KeyOrigin, context: AuditContext): string {
  switch (origin.kind) {
    case "given":
      return "given";
    case "well-known":
      return "known to everybody";
    case "install-code":
      return origin.device === undefined ? "install code" : `install code of ${origin.device}`;
    case "capture":
      return "stands in the capture file";
    case "clear-transport":
      return origin.networkSecured
        ? `frame ${origin.frame}, under the network key`
        : `frame ${origin.frame}, in clear`;
    case "transport":
      return `frame ${origin.frame}, under ${context.keyName(origin.under)}`;
    case "touchlink":
      return `frame ${origin.frame}, touchlink`;
    case "key-establishment":
      return `frame ${origin.frame}, key establishment`;
    default:
      return origin satisfies never;
  }
}

function notes(survey: Survey): string[] {
  const lines: string[] = [];
  const unopened = survey.securedFrames - survey.openedFrames;
  if (survey.frames === 0) lines.push("The capture has no frames.");
  if (unopened > 0) {
    lines.push(
      `${unopened} of ${survey.securedFrames} protected frames could not be opened: no key for them is known.`,
    );
  }
  if (survey.frames > 1 && !survey.hasTimeBase) {
    lines.push(
      "The times of the capture cannot be used (all at once): rules about rates and gaps were left out.",
    );
  } else if (survey.frames > 1 && !survey.hasPreciseTimes) {
    lines.push("The sniffer gave its times in batches: rules about single gaps were left out.");
  }
  const checked = survey.goodFrames + survey.badFrames;
  if (checked > 0 && !survey.hasFrameChecks) {
    lines.push(
      `${survey.badFrames} of ${checked} check sequences are wrong: the sniffer did not record them as sent, or heard badly.`,
    );
  } else if (survey.badFrames > 0) {
    const share = ((100 * survey.badFrames) / checked).toFixed(1);
    lines.push(`${survey.badFrames} frames (${share} %) were damaged on the way and left out.`);
  }
  if (survey.cutFrames > 0) {
    lines.push(
      `${survey.cutFrames} frames stand in the capture with their beginning only (a snapshot length that is too short) and were left out.`,
    );
  }
  const foreign: readonly (readonly [protocol: string, name: string])[] = [
    ["rf4ce", "RF4CE"],
    ["6lowpan", "6LoWPAN (Thread, for example)"],
    ["other", "of another protocol"],
  ];
  for (const [protocol, name] of foreign) {
    const count = survey.foreign.get(protocol) ?? 0;
    if (count > 0) lines.push(`${count} frames are not Zigbee: ${name}.`);
  }
  if (survey.macSecuredFrames > 0) {
    const { macSecuredFrames, macOpenedFrames } = survey;
    lines.push(
      `${macSecuredFrames} frames are protected by the MAC, which Zigbee does not use; ${macOpenedFrames} could be opened.`,
    );
  }
  if (survey.malformedFrames > 0) lines.push(`${survey.malformedFrames} frames could be read in part only.`);
  return lines;
}
