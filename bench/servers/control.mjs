// Loaded into every measured process (node --import): answers over the IPC channel what the process has used so far.
process.on("message", (message) => {
  if (message !== "usage") return;
  const { user, system } = process.cpuUsage();
  const rssBytes = process.memoryUsage.rss();
  process.send?.({
    usage: {
      cpuSeconds: (user + system) / 1e6,
      rssBytes,
      maxRssBytes: process.resourceUsage().maxRSS * 1024,
    },
  });
});
// Nothing that the benchmark started outlives it.
process.on("disconnect", () => process.exit());
