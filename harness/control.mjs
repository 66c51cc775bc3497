// Loaded into processes that have a channel (node --import): answers over it what the process has used so far.
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
// Nothing that was started outlives who started it.
process.on("disconnect", () => process.exit());
