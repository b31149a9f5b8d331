-- For wrk: sends the requests of a file in turn, ready made. The file holds, for each, its length in decimal, a line feed, its bytes;
-- several requests in one piece are sent together, which is how wrk pipelines. Ends with one line of JSON.
local pieces, at = {}, 0

function init(args)
  local file = assert(io.open(args[1], 'rb'))
  local length = file:read('*l')
  while length do
    pieces[#pieces + 1] = file:read(tonumber(length))
    length = file:read('*l')
  end
  file:close()
end

function request()
  at = at % #pieces + 1
  return pieces[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"seconds":%.6f,"requests":%d,"failures":%d,"p50Ms":%.3f,"p99Ms":%.3f,"p999Ms":%.3f,"cpuSeconds":%.3f}\n',
    summary.duration / 1e6, summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, os.clock()))
end
