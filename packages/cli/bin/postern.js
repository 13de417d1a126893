#!/usr/bin/env node
// Any Node, however old, must be able to read this file: ECMAScript 5 and CommonJS only (see package.json beside it).
// It starts Postern in this process when the runtime is recent enough, otherwise in the runtime that the project pins.
"use strict";

var fs = require("fs");
var path = require("path");

var MAJOR_MIN = 24;
var MINOR_MIN = 12;

function recentEnough(version) {
  var parts = version.split(".");
  var major = Number(parts[0]);
  return major > MAJOR_MIN || (major === MAJOR_MIN && Number(parts[1]) >= MINOR_MIN);
}

function fail(message) {
  process.stderr.write("postern: " + message + "\n");
  process.exit(1);
}

/** The sources in a clone, the bundle in a release. */
function entry() {
  var sources = path.join(__dirname, "..", "src", "main.ts");
  if (!fs.existsSync(sources)) {
    keepCompiled(path.join(__dirname, "..", ".cache"));
    return path.join(__dirname, "..", "dist", "postern.js");
  }
  var modules = path.join(__dirname, "..", "..", "..", "node_modules");
  if (fs.existsSync(modules)) keepCompiled(path.join(modules, ".cache", "postern"));
  return sources;
}

/**
 * Has the runtime keep what it makes of the program's files, which halves the time of a start. Beside these files, where only
 * their owner can write: in the shared temporary directory, the default, somebody else could put code there for us to run. Whoever
 * cannot write there goes without.
 */
function keepCompiled(directory) {
  require("module").enableCompileCache(directory);
}

/** The runtime that `npm ci` brought along, or undefined. */
function pinnedRuntime() {
  try {
    var directory = path.dirname(require.resolve("node/package.json"));
    var file = path.join(directory, "bin", process.platform === "win32" ? "node.exe" : "node");
    return fs.existsSync(file) && fs.realpathSync(file) !== fs.realpathSync(process.execPath)
      ? file
      : undefined;
  } catch (error) {
    if (error.code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

function handOver(runtime) {
  // As it was typed: what the program prints of itself comes from this path.
  var args = process.argv.slice(1);
  // Replacing this process leaves one process, one set of signals and one exit code; older runtimes cannot.
  if (typeof process.execve === "function") process.execve(runtime, [runtime].concat(args), process.env);

  var child = require("child_process").spawn(runtime, args, { stdio: "inherit" });
  var signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"];
  signals.forEach(function (signal) {
    process.on(signal, function () {
      child.kill(signal);
    });
  });
  child.on("error", function (error) {
    fail("cannot start the runtime " + runtime + " (" + error.message + "); run `npm ci` again");
  });
  child.on("exit", function (code, signal) {
    if (signal === null) process.exit(code);
    signals.forEach(function (name) {
      process.removeAllListeners(name);
    });
    process.kill(process.pid, signal);
  });
}

/**
 * What the runtime of a server is to be told about its memory, which it takes up only when it begins:
 *
 * - Of new objects, a part of 16 MB at a time. By default it is 64 MB on large machines, of which two or three are held: 60 to 130 MB
 *   that a cache holds nothing of. With less, messages cost the same or a fifth less (bench, 20 and 500 pairs).
 * - Memory of network buffers counts towards the limit of the whole heap, which grows with what is alive. Otherwise V8 marks the whole
 *   heap each time that 64 MB of them were made: the more a server holds, the more each message costs, and of one of 64 KB it was
 *   more than half of the processor time. Of V8 13, in Node 24; later ones are not told.
 * - That what it compiles for the first time is made an end of where it was begun. Otherwise a thread in the background has to find time
 *   for it, and while many clients come at once it has none: 15 MB are held by then, of which the memory allocator keeps most. Of V8 13, too.
 * - That the server may say when the collector is to run: when nothing comes (src/server/collect-at-rest.ts).
 */
function serverOptions() {
  var options = ["--max-semi-space-size=16", "--expose-gc"];
  if (parseInt(process.versions.v8, 10) <= 13)
    options.push("--external-memory-accounted-in-global-limit", "--no-maglev-destroy-on-background");
  return options;
}

/** Begins anew in place of this process, with options that it was not given; returns when it has them all, or cannot. */
function withOptions(options) {
  var given = process.execArgv.concat((process.env.NODE_OPTIONS || "").split(" ")).map(nameOf);
  var missing = options.filter(function (option) {
    return given.indexOf(nameOf(option)) < 0;
  });
  // The channel to a process that started this one would be lost: that one gives the options itself.
  if (missing.length === 0 || process.connected || typeof process.execve !== "function") return;
  var args = [process.execPath].concat(missing, process.execArgv, process.argv.slice(1));
  process.execve(process.execPath, args, process.env);
}

function nameOf(option) {
  return option.split("=")[0].replace(/_/g, "-");
}

if (recentEnough(process.versions.node)) {
  if (process.argv[2] === "up") withOptions(serverOptions());
  require(entry()).start();
} else {
  var runtime = pinnedRuntime();
  if (runtime === undefined) {
    fail(
      "needs Node " +
        MAJOR_MIN +
        "." +
        MINOR_MIN +
        " or later and runs on " +
        process.versions.node +
        "; run `npm ci` in the project's folder, which brings the right one, or install Node from https://nodejs.org",
    );
  } else {
    handOver(runtime);
  }
}
