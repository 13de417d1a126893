/** Has the program end as at its end when it is told to: what it started goes with it (`process.on("exit", …)`). */
export function endOnSignals(): void {
  for (const [name, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)
    process.once(name, () => process.exit(code));
}
