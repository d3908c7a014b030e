-- compression_hostile_spec.lua -- hostile compressed messages: random ones, valid ones cut short or
-- changed, and small ones that would become huge. The server stays alive and serves all others.

local deflate = require "support.deflate"
local frames = require "support.frames"
local loop = require "support.loop"
local server = require "support.server"

local function echo_app(compression)
  return ([[return {
    ping_period = 0, compression = %s, max_message_size = 100000,
    handle_message = function(conn, message, kind) conn:send(message, kind) end,
  }]]):format(compression)
end

-- The same inputs in each run; TIDEWIRE_TEST_SEED changes them.
local seed = tonumber(os.getenv("TIDEWIRE_TEST_SEED") or 20240607)

local function random_bytes(length)
  local bytes = {}
  for index = 1, length do bytes[index] = string.char(math.random(0, 255)) end
  return table.concat(bytes)
end

for name, compression in pairs({
  ["without contexts"] = "{ threshold = 0 }",
  ["with contexts"] = "{ threshold = 0, context = true }",
}) do
  describe("hostile compressed messages " .. name, function()
    local app
    setup(function() app = server.start({ app = echo_app(compression) }) end)
    teardown(function() app:stop() end)
    before_each(function() math.randomseed(seed) end)

    local function connect() return app:connect("/", { deflate = "" }) end

    -- Each input has a connection of its own, and all are open at once, beside one that works.
    local function throw(inputs)
      local good = connect()
      local text = ("good "):rep(100)
      for from = 1, #inputs, 50 do
        local peers = {}
        for index = from, math.min(#inputs, from + 49) do
          local peer = connect()
          peers[#peers + 1] = peer
          peer:send_raw(inputs[index])
          if index % 3 == 0 then
            peer:abort()
          else
            peer:send_close(1000)
          end
        end
        good:send_compressed(deflate.fixed(text))
        assert.equal(text, (good:receive()), "with the seed " .. seed)
        for index, peer in ipairs(peers) do
          if (from + index - 1) % 3 ~= 0 then
            peer.auto_close = false
            local code = peer:wait_closed()
            -- what it has answered may be anything that the input happens to mean
            assert.is_truthy(({ [1000] = true, [1002] = true, [1007] = true, [1009] = true })[code],
              ("code %s with the seed %d"):format(code, seed))
          end
        end
      end
      assert.is_true(app:is_alive())
    end

    local function frame(payload, more)
      more = more or {}
      more.payload, more.rsv = payload, 4
      return frames.encode(more)
    end

    it("that are random", function()
      local inputs = {}
      for index = 1, 200 do
        inputs[index] = frame(random_bytes(math.random(0, 300)), { opcode = "binary" })
      end
      throw(inputs)
    end)

    it("that are cut short, at every place", function()
      local payload, inputs = deflate.fixed("Hello, world, and hello again"), {}
      for length = 0, #payload do inputs[#inputs + 1] = frame(payload:sub(1, length)) end
      throw(inputs)
    end)

    it("that were changed here and there, and come in fragments", function()
      local inputs = {}
      for index = 1, 200 do
        local payload = deflate.stored(random_bytes(math.random(0, 100)))
          .. deflate.fixed("Hello, world"):rep(math.random(1, 3))
        local at = math.random(#payload)
        payload = payload:sub(1, at - 1) .. string.char(payload:byte(at) ~ 1 << math.random(0, 7))
          .. payload:sub(at + 1)
        local cut = math.random(0, #payload)
        inputs[index] = frame(payload:sub(1, cut), { fin = false, opcode = "binary" })
          .. frames.encode({ opcode = 0, payload = payload:sub(cut + 1) })
      end
      throw(inputs)
    end)

    it("with many blocks that hold nothing", function()
      local ada = connect()
      ada:send_compressed(("\0\0\0\xff\xff"):rep(12000) .. "\0")
      assert.equal("", (ada:receive()))
      ada:send_compressed(("\3\0"):rep(30000)) -- final blocks
      assert.equal("", (ada:receive()))
      for _, payload in ipairs({
        ("\0\0\0\xff\xff"):rep(40000), ("\0\0\0\xff\xff"):rep(18000), ("\3\0"):rep(45000),
      }) do
        ada = connect()
        ada:send_compressed(payload .. "\0")
        assert.same({ 1009, "message too big" }, { ada:wait_closed() })
      end
    end)

    it("of fourteen megabytes each in ninety kilobytes", function()
      local bomb = frame(deflate.bomb(14 << 20))
      local good = connect()
      good:ask("warm")
      connect():send_raw(bomb)
      local before = app.process:rss_kib()
      for _ = 1, 5 do
        local peers = {}
        for index = 1, 20 do
          peers[index] = connect()
          peers[index]:send_raw(bomb)
        end
        for _, peer in ipairs(peers) do assert.equal(1009, (peer:wait_closed())) end
        assert.equal("good", (good:ask("good")))
      end
      if not app.process:is_sanitized() then
        assert.is_true(app.process:rss_kib() - before < 20 * 200 + 4096, "too much memory")
      end
    end)
  end)
end

describe("a small max_message_size", function()
  it("stops a bomb at the limit, whatever the message would become", function()
    local app <close> = server.start({ app = [[return {
      compression = true, max_message_size = 1000,
      handle_message = function(conn, message) conn:send(tostring(#message)) end,
    }]] })
    local before = app.process:rss_kib()
    local whole = frames.encode({ payload = deflate.bomb(800 << 10):sub(1, 1180), rsv = 4 })
    for _ = 1, 200 do
      local peer = app:connect("/", { deflate = "" })
      peer:send_raw(whole)
      assert.equal(1009, (peer:wait_closed()))
    end
    assert.is_truthy(loop.wait_until(function() return app:is_alive() end))
    if not app.process:is_sanitized() then
      assert.is_true(app.process:rss_kib() - before < 4096)
    end
  end)
end)
