import { join, resolve } from "node:path";

import { systemClock } from "@postern/core/clock";
import { checkClock, loadAuthority, type Authority } from "@postern/identity/authority";
import { renewIssuing } from "@postern/identity/ca/renew-issuing";
import {
  exportRoot,
  readRootFile,
  readRootKey,
  removeRootKey,
  type RootKey,
} from "@postern/identity/ca/root-file";
import { authorityView, type AuthorityView } from "@postern/identity/ca/view";
import { loadCertificateAndKey } from "@postern/identity/server-certificate";

import { NotRunningError, askServer } from "../admin/client.ts";
import { nothing } from "../admin/protocol.ts";
import type { CommandContext } from "../context.ts";
import { checkUser, placeOf, type Place } from "../devices/perform.ts";
import { passphraseFor } from "./passphrase.ts";

export interface CaOptions {
  readonly data?: string;
  readonly config?: string;
  readonly json?: true;
}

export interface PassphraseOptions extends CaOptions {
  readonly passphraseFile?: string;
}

export interface ExportOptions extends PassphraseOptions {
  readonly remove?: true;
}

export interface RenewOptions extends PassphraseOptions {
  readonly root?: string;
  readonly distrustOld?: true;
}

/** The authority of a data directory, which may be changed on its files while a server runs: that reads them when it is told. */
class CaCommand {
  readonly #context: CommandContext;
  readonly #json: boolean;
  readonly place: Place;
  readonly pki: string;
  readonly authority: Authority;

  constructor(options: CaOptions, context: CommandContext) {
    this.#context = context;
    this.#json = options.json === true;
    this.place = placeOf(options, context.cwd);
    this.pki = this.place.directory.pki;
    checkUser(this.place.directory);
    checkClock(systemClock.wallMs());
    this.authority = loadAuthority(this.pki, systemClock.wallMs());
  }

  answer(value: object, text: string): void {
    this.#context.stdout.write(this.#json ? `${JSON.stringify(value)}\n` : text);
  }

  view(): AuthorityView {
    const { pki } = this;
    const authority = loadAuthority(pki, systemClock.wallMs());
    return authorityView(pki, authority, loadCertificateAndKey(join(pki, "server.pem")));
  }

  /** Has the server, if one runs, take up what is in the files now. @returns whether one does. */
  async reloadServer(): Promise<boolean> {
    const { directory, cwd } = this.place;
    try {
      await askServer(directory, cwd, { method: "POST", path: "/reload", answer: nothing });
      return true;
    } catch (thrown) {
      if (thrown instanceof NotRunningError) return false;
      throw thrown;
    }
  }
}

type Entry = AuthorityView["root"];

function line(title: string, { subject, serialNumber, notAfter }: Entry, note: string): string {
  return `${title.padEnd(16)}${subject}, until ${notAfter.slice(0, 10)}${note}\n${"".padEnd(16)}serial ${serialNumber}\n`;
}

function render({ root, rootKeyHere, issuing, formerIssuing, server }: AuthorityView): string {
  const key = rootKeyHere
    ? ", its key is on this machine: postern ca export-root FILE --remove"
    : ", its key is not on this machine";
  return [
    line("root", root, key),
    `${"".padEnd(16)}SHA-256 ${root.fingerprint}\n`,
    line("issuing", issuing, ""),
    ...formerIssuing.map((former) => line("former issuing", former, ", for the certificates it signed")),
    server === undefined ? "" : line("server", server, ""),
  ].join("");
}

export async function showCa(options: CaOptions, context: CommandContext): Promise<void> {
  const command = new CaCommand(options, context);
  const view = command.view();
  command.answer(view, render(view));
}

export async function exportRootCommand(
  file: string,
  options: ExportOptions,
  context: CommandContext,
): Promise<void> {
  const command = new CaCommand(options, context);
  const { pki, authority } = command;
  // What cannot be exported needs no passphrase.
  readRootKey(pki, authority);
  const passphrase = await passphraseFor(options.passphraseFile, { isNew: true }, context);
  const path = resolve(context.cwd, file);
  exportRoot(pki, authority, { file: path, passphrase });
  if (options.remove === true) removeRootKey(pki, authority, readRootFile(path, passphrase, authority));
  const removed = options.remove === true;
  command.answer(
    { file: path, fingerprint: authority.root.fingerprint, removed },
    `${path} holds the root, its key encrypted with the passphrase; it was read back and is the same\n${
      removed
        ? "the key is not on this machine any more: keep that file and the passphrase, apart from each other\n"
        : `the key is still on this machine: ${context.program} ca remove-root ${file}\n`
    }`,
  );
}

export async function removeRootCommand(
  file: string,
  options: PassphraseOptions,
  context: CommandContext,
): Promise<void> {
  const command = new CaCommand(options, context);
  const { pki, authority } = command;
  readRootKey(pki, authority);
  const passphrase = await passphraseFor(options.passphraseFile, { isNew: false }, context);
  const path = resolve(context.cwd, file);
  removeRootKey(pki, authority, readRootFile(path, passphrase, authority));
  command.answer(
    { file: path, removed: true },
    `the root's key is in ${path} and not on this machine any more\n`,
  );
}

export async function renewIssuingCommand(options: RenewOptions, context: CommandContext): Promise<void> {
  const command = new CaCommand(options, context);
  const { pki, authority } = command;
  let root: RootKey;
  if (options.root === undefined) {
    root = readRootKey(pki, authority);
  } else {
    const passphrase = await passphraseFor(options.passphraseFile, { isNew: false }, context);
    root = readRootFile(resolve(context.cwd, options.root), passphrase, authority);
  }
  const distrustOld = options.distrustOld === true;
  await renewIssuing({ pki, authority, root, distrustOld, nowMs: systemClock.wallMs() });
  const reloaded = await command.reloadServer();
  const view = command.view();
  const next = distrustOld
    ? "what the old one signed is good no more: give each device new credentials with `postern device rotate`"
    : "what the old one signed stays good until it ends";
  command.answer(
    { ...view, reloaded },
    `${render(view)}there is a new issuing authority; ${next}\n${
      reloaded ? "the running server uses it, and has a new certificate\n" : ""
    }`,
  );
}
