-- docs_numbers_spec.lua -- numbers of the documentation that come from the code are those of the
-- code.
--
-- A number that the documentation takes from the code has a line in the table below: the page, the
-- words that state it, its place in the code (support.sources, sources.value), and the value that
-- the words mean. It fails when the code or the page changes without the other.

local sources = require "support.sources"

local KIB, MIB, MS_NS = 1 << 10, 1 << 20, 1000000

local PATHS = { README = "README.md", man = "man/tidewire.1" }

local function page_text(page)
  if page == "help" then return sources.text("help.lua") end
  return sources.read(PATHS[page] or "docs/" .. page .. ".md")
end

local FACTS = {
  -- starting
  { "operating", "an address to listen on; may be repeated. `127.0.0.1:8080`",
    "options.lua: default = { (%b\"\") }, env = \"LISTEN\"",
    '"127.0.0.1:8080"' },
  { "operating", "serve connections, at most 128; `auto`", "DIRECTORY_MAX_WORKERS", 128 },
  { "configuration", "1 to 128, or `\"auto\"`", "MOST_WORKERS", 128 },
  { "operating", "`auto` is one per processor. 1 |", "option app.workers", 1 },
  { "man", "for one per processor; 1 by default.", "option app.workers", 1 },
  { "operating", "the [drain](#draining) may take; 10 |",
    "settings.lua: drain_seconds = (%d+)", 10 },
  { "man", "How long SIGTERM waits for clients; 10 by default.",
    "settings.lua: drain_seconds = (%d+)", 10 },
  { "help", "how long SIGTERM waits for clients, 10 ", "settings.lua: drain_seconds = (%d+)", 10 },
  { "operating", "has come for S seconds; 1, in a terminal 0",
    "WAIT_SECONDS", 1 },
  { "man", "1 by default, 0 in a terminal.", "WAIT_SECONDS", 1 },
  { "operating", "created with mode 0640", "log.c: O_WRONLY | flags, (%d+)", 640 },
  { "operating", "two seconds for it", "SETTLE_MS", 2000 },

  -- reloading
  { "operating", "slices of two milliseconds of CPU time", "SLICE_NS", 2 * MS_NS },
  { "operating", "After three seconds of waiting the log says so once", "RELOAD_SLOW_MS", 3000 },
  { "operating", "has taken three seconds and goes on", "RELOAD_SLOW_MS", 3000 },
  { "operating", "under way for more than a second is discarded", "REPLACED_MS", 1000 },
  { "operating", "runs for 100 connections a turn", "RELOADS_PER_TURN", 100 },
  { "architecture", "the hub runs 100 of these hooks in each turn", "RELOADS_PER_TURN", 100 },
  { "operating", "a tenth of a second after the last change", "SETTLED_MS", 100 },
  { "operating", "A file that disappears may come back within two seconds", "GONE_MS", 2000 },
  { "operating", "The server checks the files every 200 milliseconds", "LOOK_MS", 200 },
  { "operating", "`{\"where\":\"app.lua:12\",\"generation\":3,\"count\":20}`, for 32 lines",
    "GENERATION_COUNTS_MOST_PLACES", 32 },

  -- plain HTTP
  { "operating", "from 16 KiB on the server does not read from it", "http_keep.c:PAUSE_BYTES",
    16 * KIB },
  { "proxies", "and Tidewire for 75", "option limits.keep_alive_seconds", 75 },
  { "operating", "`Keep-Alive: timeout=75`", "option limits.keep_alive_seconds", 75 },

  -- the log
  { "operating", "up to 1 MiB of lines wait", "LOG_QUEUE_BYTES", MIB },
  { "operating", "after half a second without a reader", "log.c:FLUSH_MS", 500 },
  { "operating", "at the end for half a second", "FLUSH_NS", 500 * MS_NS },
  { "operating", "A value has at most 8 KiB and a line 16 KiB", "LOG_VALUE_MAX", 8 * KIB },
  { "operating", "A value has at most 8 KiB and a line 16 KiB", "LOG_LINE_MAX", 16 * KIB },
  { "operating", "at most 20 lines a second are written", "LOG_LIMIT", 20 },
  { "operating", "once for each of the first ten", "MOST_WARNINGS", 10 },
  { "operating", "as a warning in its last 14 days", "SOON_DAYS", 14 },

  -- the admin address
  { "operating", "an earlier request for 5 seconds or more", "SILENCE_SECONDS", 5 },
  { "operating", "the admin address has 256 sockets of its own", "admin.c:MAX_SOCKETS", 256 },

  -- limits
  { "operating", "a drain waits 2 seconds for such an answer", "DRAINING_MS", 2000 },
  { "operating", "A message may have 1024 empty ones among them", "FRAME_EMPTY_MAX", 1024 },
  { "configuration", "Of these, 1024 may be empty", "FRAME_EMPTY_MAX", 1024 },
  { "scripting", "or more than 1024 empty ones", "FRAME_EMPTY_MAX", 1024 },
  { "operating", "always room for four messages of the largest", "MESSAGES_AT_ONCE", 4 },
  { "operating", "bodies of plain requests | 1 MiB: 413", "MAX_BODY_BYTES", MIB },
  { "scripting", "The server reads the request's body, up to 1 MiB", "MAX_BODY_BYTES", MIB },
  { "operating", "has 5 seconds to read its queue", "CLOSE_FLUSH_MS", 5000 },
  { "operating", "3 more to answer the Close frame", "CLOSE_ACK_MS", 3000 },
  { "operating", "and one to end TCP", "CLOSE_LINGER_MS", 1000 },
  { "operating", "The server answers 512 refused sockets at a time", "MAX_REFUSALS", 512 },
  { "operating", "`limits.connections` and 4096 more", "SPARE_DESCRIPTORS", 4096 },
  { "operating", "overhead of small messages (64 bytes each", "OUTQ_MESSAGE_BYTES", 64 },
  { "operating", "as much again, and at least 64 KiB", "OVERHEAD_BYTES", 64 * KIB },
  { "operating", "bounded by 64 messages or 64 KiB", "FULL_ITEMS", 64 },
  { "operating", "bounded by 64 messages or 64 KiB", "FULL_BYTES", 64 * KIB },
  { "scripting", "When more than 64 of them, or 64 KiB, are waiting", "FULL_ITEMS", 64 },
  { "scripting", "When more than 64 of them, or 64 KiB, are waiting", "FULL_BYTES", 64 * KIB },
  { "architecture", "above 64 messages or 64 KiB the socket is not read", "FULL_ITEMS", 64 },
  { "architecture", "above 64 messages or 64 KiB the socket is not read", "FULL_BYTES", 64 * KIB },
  { "operating", "32 are free, and one more for each second and for each 16 KiB of data",
    "tls_budget.c:FREE_MESSAGES", 32 },
  { "operating", "32 are free, and one more for each second and for each 16 KiB of data",
    "tls_budget.c:MESSAGE_BYTES", 16 * KIB },
  { "proxies", "The pings of `ping_period` (30 seconds)", "option handler.ping_period", 30 },

  -- the API
  { "scripting", "with up to 123 bytes of the message in `event.reason`", "CLOSE_REASON_MAX", 123 },
  { "scripting", "the reason has at most 123 bytes", "CLOSE_REASON_MAX", 123 },
  { "scripting", "1000 to 1014 but 1004 to 1006, and 3000 to 4999 can be sent",
    "CLOSE_LAST_OF_PROTOCOL", 1014 },
  { "scripting", "a status from 4000 to 4999",
    "CLOSE_FIRST_PRIVATE", 4000 },
  { "scripting", "(a string of at most 1024 bytes) takes the place", "MESSAGE_KEY_MAX", 1024 },
  { "scripting", "A key is a string of at most 1024 bytes", "STORE_MAX_KEY_BYTES", 1024 },
  { "scripting", "A store holds 64 MiB", "DEFAULT_BYTES", 64 * MIB },
  { "scripting", "`max_bytes` (4096 at least)", "shared.lua: min = (%d+)", 4096 },
  { "scripting", "There can be 256 stores", "SHARED_MAX_STORES", 256 },
  { "scripting", "where others were faster a hundred times", "shared.lua:MOST_TRIES", 100 },
  { "scripting", "so it does not drift; returns a timer. 0.001 or more",
    "SHORTEST_SECONDS", 0.001 },
  { "configuration", "the shortest is 0.001", "SHORTEST_SECONDS", 0.001 },
  { "scripting", "run for some 5 ms each", "TURN_SLICE_NS", 5 * MS_NS },
  { "scripting", "Up to nine values can be passed", "BIND_LUV_MAX_VALUES", 9 },
  { "scripting", "The server's end waits five seconds for all of them", "FINISH_MS", 5000 },
  { "scripting", "`handler_timeout` seconds of CPU time (1)", "option handler.handler_timeout", 1 },
  { "scripting", "`limits.load_timeout` (5 seconds)", "option limits.load_timeout", 5 },
  { "scripting", "seconds for all of it; 10 |", "client.lua: \"timeout\", (%d+)", 10 },
  { "scripting", "body may have; 8388608", "client.lua: \"max_bytes\", (8 << 20)", "8 << 20" },
  { "scripting", "are followed; by default 0", "client.lua: \"redirects\", (%d+)", 0 },
  { "scripting", "headers above 64 KiB", "MAX_HEAD_BYTES", 64 * KIB },
  { "scripting", "| `timeout` | 10 | seconds until the connection",
    "connect.lua: \"timeout\"[^\n]- default = (%d+)", 10 },
  { "scripting", "| `ping_period` | 30 | seconds between PING frames",
    "connect.lua: \"ping_period\"[^\n]- default = (%d+)", 30 },
  { "scripting", "| `pong_period` | 300 | seconds of silence",
    "connect.lua: \"pong_period\"[^\n]- default = (%d+)", 300 },
  { "scripting", "waits for the server's Close frame, at most three seconds",
    "upstream_frames.c:CLOSE_MS", 3000 },
  { "scripting", "A worker has at most 1000 clients", "UPSTREAM_SOCKETS_MAX", 1000 },
  { "scripting", "At most 1000 requests may be under way", "http_client.c:MAX_REQUESTS", 1000 },
  { "scripting", "the most bytes that the file may have; `\"16M\"`",
    "files.lua: default = (%d+) %* MIB", 16 },
  { "scripting", "the wait for other programs included; 30 |",
    "run.lua: \"timeout\"[^\n]- default = (%d+)", 30 },
  { "scripting", "SIGKILL two seconds later", "children.c:TERM_MS", 2000 },
  { "scripting", "half a second after the end of the program", "children.c:LINGER_MS", 500 },
  { "scripting", "by default 32. Further calls", "option limits.processes", 32 },
  { "scripting", "32 for HS256, 48 for HS384, 64 for HS512", "HS256", 32 },
  { "scripting", "32 for HS256, 48 for HS384, 64 for HS512", "HS384", 48 },
  { "scripting", "32 for HS256, 48 for HS384, 64 for HS512", "HS512", 64 },
  { "scripting", "cut off at 16 KiB", "inspect.lua:MOST_BYTES", 16 * KIB },

  -- the architecture and the decisions
  { "architecture", "128 KiB of an answer or a file", "http_write.c:TURN_BYTES", 128 * KIB },
  { "architecture", "If they are 4 KiB or", "EARLY_BYTES", 4 * KIB },
  { "scripting", "answers of 4 KiB or more", "EARLY_BYTES", 4 * KIB },
  { "architecture", "256 KiB of its queue", "hub_send.c:TURN_BYTES", 256 * KIB },
  { "architecture", "2 ms for the messages of one read beyond the first eight",
    "CONN_SLICE_NS", 2 * MS_NS },
  { "architecture", "2 ms for the messages of one read beyond the first eight",
    "MESSAGES_PER_CHECK", 8 },
  { "architecture", "(10 ms for those of all clients)", "ALL_SLICES_NS", 10 * MS_NS },
  { "decisions/http_client", "refuses requests above 1000 under way",
    "http_client.c:MAX_REQUESTS", 1000 },
  { "decisions/http_client", "does not limit the headers in 7.88 | limits them to 64 KiB",
    "MAX_HEAD_BYTES", 64 * KIB },
  { "decisions/http_client", "Each worker keeps 64 idle connections", "IDLE_CONNECTIONS", 64 },
  { "decisions/json", "128 levels are the limit", "JSON_C_MAX_DEPTH", 128 },
  { "decisions/jwt", "limits tokens to 64 KiB", "jwt.lua:LONGEST", 64 * KIB },
  { "decisions/tls", "at most one record (16 KiB)", "TLS_RECORD_BYTES", 16 * KIB },
  { "decisions/tls", "makes it write and does not read, at 64 KiB", "tls_out.c:MAX_WAITING",
    64 * KIB },

  -- pages in browsers
  { "browsers", "is half a second, then twice as long each time",
    "clients/js/tidewire.mjs: backoff = { min: (%d+)", 500 },
  { "browsers", "up to ten or fifteen seconds",
    "examples/game/public/game.js: backoff: { max: (%d+)", 10000 },
  { "browsers", "up to ten or fifteen seconds",
    "clients/js/tidewire.mjs: backoff = { min: 500, max: (%d+)", 15000 },
  { "clients", "`{ min: 500, max: 15000 }`",
    "clients/js/tidewire.mjs: backoff = { min: 500, max: (%d+)", 15000 },
  { "clients", "after 32 messages or 16 KiB", "clients/js/tidewire.mjs: MOST_MESSAGES = (%d+)",
    32 },
  { "clients", "after 32 messages or 16 KiB", "clients/js/tidewire.mjs: MOST_BYTES = (%d+)",
    16 * KIB },

  -- the goals of scripts/bench
  { "testing", "| 1.15, 1.4, 1.45 and 1.35 times |",
    "bench/parts.lua: size = 20, depth = 1, goal = (%S+)", 1.15 },
  { "testing", "| 1.15, 1.4, 1.45 and 1.35 times |",
    "bench/parts.lua: size = 20, depth = 16, goal = (%S+)", 1.4 },
  { "testing", "| 1.15, 1.4, 1.45 and 1.35 times |",
    "bench/parts.lua: size = 1024, depth = 16, goal = (%S+)", 1.45 },
  { "testing", "| 1.15, 1.4, 1.45 and 1.35 times |",
    "bench/parts.lua: size = 16384, depth = 4, goal = (%S+)", 1.35 },
  { "testing", "| 1.08 times; 1.12 where 16 messages arrive at once |",
    "bench/parts.lua: BROADCASTS = {%s*{ size = 20, depth = 1, goal = (%S+)", 1.08 },
  { "testing", "| 1.08 times; 1.12 where 16 messages arrive at once |",
    "bench/parts.lua: BROADCASTS = {[^}]+},%s*{ size = 20, depth = 16, goal = (%S+)", 1.12 },
  { "testing", "with 100,000 different texts of 20 bytes",
    "bench/parts.lua: size = 20, depth = 16, texts = (%d+)", 100000 },
  { "testing", "and 10,000 of 1 KiB", "bench/parts.lua: size = 1024, depth = 16, texts = (%d+)",
    10000 },
  { "testing", "with 10,000 different JSON objects",
    "bench/parts.lua: json = true, depth = 16, texts = (%d+)", 10000 },
  { "testing", "while 1 % of the receivers leave", "bench/parts.lua: churn = (%d+)", 1 },
  { "testing", "| 1.5 times; memory below 200 times `max_backlog` |",
    "bench/parts.lua: SLOW_GOAL = (%S+)", 1.5 },
  { "testing", "| the p99 latency of 800 receivers beside 200 that read nothing",
    "bench/parts.lua: SLOW_PERCENT = (%d+)", 20 },
  { "testing", "| 1,900 bytes, 8 KiB after its first message, 6 KiB with TLS;",
    "bench/parts.lua: IDLE_GOAL_BYTES = (%d+)", 1900 },
  { "testing", "| 1,900 bytes, 8 KiB after its first message, 6 KiB with TLS;",
    "bench/parts.lua: USED_GOAL_BYTES = (%d+) %* KIB", 8 },
  { "testing", "| 1,900 bytes, 8 KiB after its first message, 6 KiB with TLS;",
    "bench/parts.lua: IDLE_TLS_GOAL_BYTES = (%d+) %* KIB", 6 },
  { "testing", "4 copies and 64 bytes per queue |", "bench/parts.lua: UNREAD_GOAL_COPIES = (%d+)",
    4 },
  { "testing", "4 copies and 64 bytes per queue |",
    "bench/parts.lua: UNREAD_GOAL_QUEUE_BYTES = (%d+)", 64 },
  { "testing", "where 19,000 end at once with that where 5,000 do",
    "bench/parts.lua: CLOSES = { 5000, (%d+) }", 19000 },
  { "testing", "| 1.15 times; 50 ms |", "bench/parts.lua: CLOSE_GOAL = (%S+)", 1.15 },
  { "testing", "| 1.15 times; 50 ms |", "bench/parts.lua: CLOSE_P99_GOAL_MS = (%d+)", 50 },
}

local function flat(text)
  return (text:gsub("%s+", " "))
end

describe("numbers of the documentation", function()
  for _, fact in ipairs(FACTS) do
    local page, words, what, value = table.unpack(fact)
    it(("%s: %q is %s"):format(page, words, what), function()
      local is_told = flat(page_text(page)):find(words, 1, true)
      assert.is_truthy(is_told, ("%s does not say %q"):format(page, words))
      assert.equal(value, sources.value(what),
        ("%s says %q, the code does not"):format(page, words))
    end)
  end
end)
