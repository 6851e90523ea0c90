-- Sends the requests of a file, one after the other and again from the first, and looks at every reply.
--   wrk -t1 ... -s wrk.lua URL -- FILE EXPECTED
local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init(args)
    requests, number, bad, first_bad = {}, 0, 0, ""
    expected = args[2]
    for request in io.open(args[1], "rb"):read("*a"):gmatch("[^%z]+") do
        table.insert(requests, request)
    end
end

function request()
    number = number % #requests + 1
    return requests[number]
end

function response(status, headers, body)
    if status ~= 200 or not body:find(expected, 1, true) then
        bad = bad + 1
        if bad == 1 then
            first_bad = body
        end
    end
end

-- Numbers of summary and latency are in microseconds.
function done(summary, latency)
    local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
    local reason = errors > 0 and "wrk reports broken connections or replies that never came" or ""
    for _, thread in ipairs(threads) do
        errors = errors + thread:get("bad")
        if thread:get("bad") > 0 then
            reason = thread:get("first_bad"):gsub("[^%g ]", " "):gsub('["\\]', "'")
        end
    end
    print(string.format(
        '\nOUTCOME {"requests":%d,"elapsed_s":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"errors":%d,"first_error":"%s"}',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors, reason))
end
