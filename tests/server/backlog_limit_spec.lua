-- backlog_limit_spec.lua -- the memory of all clients' queues together: limits.backlog. The bytes
-- that count and the order of the queues are tested by tests/unit/test_hub_queues.c, too.

local chunks = require "support.chunks"
local cjson = require "cjson"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local upstream = require "support.upstream"

local KIB, MIB = 1 << 10, 1 << 20
local WORKERS = tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1)

-- The kernel takes up to 4 MiB for a TCP connection that is not read, and a fifth of one for a Unix
-- socket, which has no TLS.
local TLS = os.getenv("TIDEWIRE_TEST_TLS") ~= nil
local UNIT = TLS and 4 * MIB or MIB
local LIMIT = 8 * UNIT
local MANY = TLS and 30 or 1000

-- A client's text is Lua code; "= " and its results is the answer.
local APP = [[
local chunks = require "chunks"
local here = require "here"
local record = require "record"
local tw = require "tidewire"

-- Sends so many messages of 16 KiB to one client.
local function fill(id, count)
  for _ = 1, count do
    local ok, why = tw.send(id, ("f"):rep(16 << 10))
    if not ok then return why end
  end
  return true
end

-- Broadcasts so many messages. Returns the most memory that the queues had.
local function broadcast(size, count)
  local most, room = 0, tw.room("slow")
  for round = 1, count do
    room:broadcast(("%06d"):format(round) .. ("b"):rep(size - 6))
    most = math.max(most, tw.stats().backlog_bytes)
  end
  return most
end

local function endpoint(options)
  options.ping_period = 0
  options.max_backlog = "256M"
  options.validate = here.validate
  options.on_close = function(conn, code, reason)
    record("close", conn.id, code, reason, tw.stats().backlog_bytes)
  end
  options.handle_message = function(conn, code)
    conn:send(chunks.run(code, {
      conn = conn, tw = tw, fill = fill, broadcast = broadcast, record = record,
    }))
  end
  return options
end

local function slow(policy)
  return endpoint {
    slow_client = policy,
    on_start = function(conn) conn:join("slow") conn:send(conn.id) end,
    on_drain = function(conn) record("drain", conn.id) conn:send("drained") end,
  }
end

return {
  admin = "127.0.0.1:0",
  limits = { backlog = LIMIT },
  endpoints = {
    ["/close"] = slow("close"), ["/drop"] = slow("drop"), ["/conflate"] = slow("conflate"),
    ["/control"] = endpoint {},
  },
}
]]

describe("limits.backlog", function()
  local app, control

  after_each(function()
    stream.close_all()
    app:stop()
  end)

  local function start(options)
    options = options or {}
    options.app = APP:gsub("LIMIT", tostring(LIMIT))
    if not TLS then options.listen = { "unix:" .. process.make_directory() .. "/socket" } end
    app = server.start(options)
    control = app:connect_on(0, "/control")
  end

  local function stats()
    return cjson.decode(http.request(app.admin, "/stats").body)
  end

  -- A client that reads nothing after its id.
  local function connect_slow(path, worker)
    local peer = app:connect_on(worker or 0, path, { receive_buffer = 4096 })
    local id = peer:receive()
    peer.stream:pause()
    return peer, id
  end

  local function wait_for_bytes(low, high)
    assert.is_truthy(loop.wait_until(function()
      local bytes = stats().backlog_bytes
      return bytes >= low and bytes <= (high or math.huge)
    end), "never so many bytes: " .. stats().backlog_bytes)
  end

  it("closes the largest queue first, and frees it at once", function()
    start()
    local _, small = connect_slow("/close", 0)
    local peer, large = connect_slow("/close", 1 % WORKERS)
    local _, middle = connect_slow("/close", 2 % WORKERS)
    chunks.ask(control, ("return fill(%q, %d)"):format(small, UNIT // (16 * KIB)))
    chunks.ask(control, ("return fill(%q, %d)"):format(large, 3 * UNIT // (16 * KIB)))
    chunks.ask(control, ("return fill(%q, %d)"):format(middle, 2 * UNIT // (16 * KIB)))
    wait_for_bytes(TLS and 2 * UNIT or 5 * UNIT)
    local other = app:connect_on(1 % WORKERS, "/control")
    local sent = 0
    repeat -- the small one is the smallest until the limit is reached
      chunks.ask(control, ("return fill(%q, 1)"):format(middle))
      chunks.ask(control, ("return fill(%q, 3)"):format(large))
      chunks.ask(other, "return 1") -- the large one's worker has looked at the limit meanwhile
      sent = sent + 1
    until #app:events("close") > 0 or sent > 4096
    local event = app:wait_event("close")
    assert.same({ large, 1013, "too much waits for slow clients" },
      { event[2], event[3], event[4] })
    assert.is_true(event[5] <= LIMIT - 2 * UNIT, "its queue is still there: " .. event[5])
    assert.equal(1, #app:events("close"))
    assert.equal(1, stats().backlog_closed)
    peer.stream:resume()
    peer:wait_closed()
    assert.equal(1013, peer.close_code)
    app:wait_for_log("event=backlog_full")
  end)

  it("says so to the sender", function()
    start()
    local _, id = connect_slow("/close", 0)
    assert.equal("closed", chunks.ask(control, ("return fill(%q, %d)"):format(id, 1 << 20)))
    local _, dropped = connect_slow("/drop", 0)
    assert.equal("backlog", chunks.ask(control, ("return fill(%q, %d)"):format(dropped, 1 << 20)))
  end)

  -- Each message is sent when the reader has the one before.
  local function check_reader(code_of)
    start()
    local before = app.process:rss_kib()
    for index = 1, MANY do connect_slow("/close", index % WORKERS) end
    local reader = app:connect_on(WORKERS - 1, "/drop")
    local reader_id = reader:receive()
    local most, rounds = 0, 0
    repeat
      rounds = rounds + 1
      most = math.max(most, tonumber(chunks.ask(control, code_of(rounds))))
      local got = reader:receive()
      assert.equal(("%06d"):format(rounds), got:sub(1, 6))
    until #app:events("close") >= MANY // 2 or rounds > 2000
    assert.is_true(#app:events("close") >= MANY // 2)
    for _, event in ipairs(app:events("close")) do assert.equal(1013, event[3]) end
    assert.is_true(most <= LIMIT + LIMIT // 4, "the queues had " .. most)
    if not app.process:is_sanitized() then
      local grown = (app.process:rss_kib() - before) * KIB
      assert.is_true(grown < LIMIT + LIMIT // 4 + 32 * MIB, "the process grew by " .. grown)
    end
    assert.equal(reader_id, chunks.ask(reader, "return conn.id"))
    assert.equal(0, stats().messages_dropped)
  end

  it("holds with a thousand slow readers of one broadcast; a client that reads gets all", function()
    check_reader(function(round)
      return ([[tw.room("slow"):broadcast("%06d" .. ("b"):rep(64 << 10))
        return tw.stats().backlog_bytes]]):format(round)
    end)
  end)

  it("holds with a thousand slow readers of separate messages", function()
    check_reader(function(round)
      return ([[local most = 0
        for _, member in ipairs(tw.room("slow"):members()) do
          tw.send(member.id, "%06d" .. ("s"):rep(16 << 10))
          most = math.max(most, tw.stats().backlog_bytes)
        end
        return most]]):format(round)
    end)
  end)

  it("is kept within one turn, by a script that broadcasts without end", function()
    start()
    for index = 1, 50 do connect_slow("/close", index % WORKERS) end
    for _, size in ipairs({ 64, 1024, 65536 }) do
      local most = tonumber(chunks.ask(control,
        ("return broadcast(%d, %d)"):format(size, size == 64 and 100000 or 3 * LIMIT // size)))
      assert.is_true(most <= LIMIT + LIMIT // 4, size .. " bytes: the queues had " .. most)
    end
  end)

  for _, policy in ipairs({ "drop", "conflate" }) do
    it("drops what waits for a client with slow_client = \"" .. policy .. "\"", function()
      start()
      local peer, id = connect_slow("/" .. policy, 0)
      assert.equal("backlog",
        chunks.ask(control, ("return fill(%q, %d)"):format(id, 1 << 20)))
      assert.is_true(stats().messages_dropped > LIMIT / 2 / (16 * KIB))
      peer.stream:resume()
      local last
      repeat last = peer:receive() until last == "drained" or not last
      assert.equal("drained", last)
      assert.equal(id, chunks.ask(peer, "return conn.id"))
      assert.equal(0, stats().backlog_closed)
    end)
  end

  it("is shown in /metrics, and falls to nothing when all is read", function()
    start()
    local peer, id = connect_slow("/close", 0)
    chunks.ask(control, ("return fill(%q, %d)"):format(id, 4 * UNIT // (16 * KIB)))
    local text = http.request(app.admin, "/metrics").body
    local bytes = tonumber(text:match("\ntidewire_backlog_bytes (%d+)"))
    assert.is_true(bytes > 2 * UNIT and bytes < 5 * UNIT, "backlog_bytes " .. bytes)
    assert.equal(LIMIT, tonumber(text:match("\ntidewire_backlog_limit_bytes (%d+)")))
    assert.equal("0", text:match("\ntidewire_backlog_closed_total (%d+)"))
    peer.stream:resume()
    peer:receive_many(4 * UNIT // (16 * KIB))
    wait_for_bytes(0, 0)
  end)

  it("holds for what clients of tw.connect send, which are told so", function()
    start()
    local other = upstream.start(function(peer, request)
      peer:write(upstream.acceptance(request))
      peer.handle:read_stop()
    end)
    assert.equal("nil backlog true true", chunks.ask(control, ([[
      local client = assert(tw.connect(%q, { max_backlog = "256M" }))
      local payload, ok, why = ("x"):rep(16 << 10)
      repeat ok, why = client:send(payload) until not ok
      local bytes = tw.stats().backlog_bytes
      return ok, why, bytes > %d, bytes <= %d]]):format(other.url, LIMIT // 2, LIMIT + MIB)))
    other:close()
    wait_for_bytes(0, 0)
  end)

  it("is changed by a reload", function()
    start()
    local _, id = connect_slow("/close", WORKERS - 1)
    chunks.ask(control, ("return fill(%q, %d)"):format(id, 4 * UNIT // (16 * KIB)))
    wait_for_bytes(2 * UNIT)
    process.write_file(app.directory .. "/app.lua", (APP:gsub("LIMIT", tostring(MIB))))
    app:signal("sighup")
    app:wait_for_log("event=reloaded")
    assert.equal(1013, app:wait_event("close")[3])
    assert.equal(MIB, stats().backlog_limit_bytes)
  end)

  it("lets the process live in little address space", function()
    start()
    if app.process:is_sanitized() then return end -- which reserves terabytes
    app:stop()
    start({ shell = "ulimit -v 1048576;" })
    for index = 1, MANY do connect_slow("/close", index % WORKERS) end
    for _ = 1, 3 do
      chunks.ask(control, ("return broadcast(65536, %d)"):format(3 * LIMIT // 65536))
    end
    assert.equal("true", chunks.ask(control, "return true"))
  end)
end)
