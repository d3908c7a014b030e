-- sessions_workers_spec.lua -- sessions with several workers: whichever worker the kernel gives a
-- returning client to, its socket goes to the worker that has the session.

local cjson = require "cjson"
local certificates = require "support.certificates"
local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local session = require "support.session"
local stream = require "support.stream"

local WORKERS, CLIENTS, RETURNS = 4, 12, 10

local APP = [[
  local tw = require "tidewire"
  return {
    trusted_proxies = { "unix" },
    limits = { per_address = 50 },
    endpoints = { ["/"] = {
      resume = { seconds = 30 },
      ping_period = 0,
      on_start = function(conn)
        conn.lines = 0
        conn:join("all")
      end,
      handle_message = function(conn, message)
        conn.lines = conn.lines + 1
        if message == "who" then
          conn:send(("%s %d %s"):format(conn.id, tw.worker, conn.remote_address))
        elseif message == "close all" then
          for _, member in ipairs(tw.room("all"):members()) do tw.close(member.id, 4321) end
        else
          conn:send(conn.lines .. " " .. message)
        end
      end,
    } },
    http = { ["/stats"] = function() return tw.json.encode(tw.stats()) end },
  }
]]

for _, kind in ipairs { "plain", "tls" } do
  describe("a session with several workers, " .. kind, function()
    local app

    lazy_setup(function()
      local environment = { TIDEWIRE_TLS_CERTIFICATE = false }
      if kind == "tls" then
        environment.TIDEWIRE_TLS_CERTIFICATE, environment.TIDEWIRE_TLS_KEY = certificates.shared()
      end
      app = server.start({
        app = APP, workers = WORKERS, environment = environment,
        listen = { "127.0.0.1:0", "unix:" .. process.make_directory() .. "/socket" },
        options = { "--log-level", "debug" },
      })
    end)
    lazy_teardown(function() app:stop() end)
    after_each(stream.close_all)

    local function stats() return cjson.decode(app:http("/stats").body) end

    -- The id, worker and address of a session's connection, as the connection says.
    local function who(peer)
      return peer:ask("who"):match("^(%S+) (%d+) (%S+)$")
    end

    it("is found from any worker, and nothing is lost or doubled", function()
      local peers, ids = {}, {}
      local before = stats()
      for i = 1, CLIENTS do
        peers[i] = session.start(app:url())
        ids[i] = who(peers[i])
      end
      for round = 1, RETURNS do
        for i, peer in ipairs(peers) do
          peer:send("unread " .. round)
          peer.socket:abort()
          peer.sent[#peer.sent + 1] = "in flight " .. round
          assert.is_true(peer:connect().resumed)
          local from = peer.received
          while peer.received < 1 + 2 * round do assert.truthy(peer:receive()) end
          assert.equal(1 + 2 * round - from, #peer.got - from)
          assert.equal(("%d unread %d"):format(2 * round, round), peer.got[2 * round])
          assert.equal(("%d in flight %d"):format(2 * round + 1, round), peer.got[2 * round + 1])
          assert.equal(#peer.sent, peer.received, "client " .. i)
        end
      end
      for i, peer in ipairs(peers) do assert.equal(ids[i], (who(peer))) end
      local after = stats()
      local passed = after.sessions_passed - before.sessions_passed
      assert.is_true(passed > 0 and passed < CLIENTS * RETURNS, passed .. " were passed")
      assert.equal(CLIENTS, after.connections)
      assert.equal(CLIENTS + 1, after.sockets) -- and the one that asks
      assert.equal(before.connections_refused, after.connections_refused)
      for i = 1, CLIENTS do peers[i].socket:close(1000) end
      assert.is_true(loop.wait_until(function() return stats().connections == 0 end))
      assert.is_true(loop.wait_until(function() return stats().sockets == 1 end))
    end)

    -- Calls f with returns of one session until one of them came to another worker.
    local function return_until_passed(peer, f)
      local before = stats().sessions_passed
      for _ = 1, 200 do
        peer.socket.stream:close()
        f()
        if stats().sessions_passed > before then return end
      end
      error("the kernel has chosen the worker of the session 200 times")
    end

    it("takes the bytes behind the request, and a request in pieces", function()
      local peer, number = session.start(app:url()), 0
      local frames = require "support.frames"
      return_until_passed(peer, function()
        local path = ("/?session=%s&received=%d"):format(peer.secret, peer.received)
        local request, key = client.handshake(path)
        local source = assert(stream.connect(app.addresses[1]))
        source:write(request:sub(1, 30))
        source:write(request:sub(31, -3))
        number = number + 1
        source:write(request:sub(-2) .. frames.encode {
          opcode = "text", payload = "behind " .. number,
        })
        peer.socket = assert(client.attach(source, key))
        assert.is_true(cjson.decode((peer.socket:receive())).resumed)
        assert.equal(("%d behind %d"):format(number, number), (peer:receive()))
      end)
    end)

    it("knows its client as before", function()
      local peer = session.start(app:url())
      return_until_passed(peer, function()
        assert.is_true(peer:connect().resumed)
        local _, _, address = who(peer)
        assert.equal("127.0.0.1", address)
      end)
    end)

    it("is found by a Unix socket, whose proxy names the client", function()
      local url = app:url("/", 2)
      local peer = session.start(url, { headers = { ["X-Forwarded-For"] = "192.0.2.7" } })
      return_until_passed(peer, function()
        assert.is_true(peer:connect().resumed)
        local _, _, address = who(peer)
        assert.equal("192.0.2.7", address)
      end)
    end)

    it("says once in the log that a handshake is accepted", function()
      local peer = session.start(app:url())
      return_until_passed(peer, function() assert.is_true(peer:connect().resumed) end)
      assert.same({}, app:log_lines(peer.secret))
      assert.same({}, app:log_lines("event=refused"))
    end)

    it("may end while its client is on the way", function()
      for _ = 1, 10 do
        local peers = {}
        for i = 1, 8 do peers[i] = session.start(app:url()) end
        for _, peer in ipairs(peers) do peer.socket:abort() end
        local sources, keys = {}, {}
        for i, peer in ipairs(peers) do
          local path = ("/?session=%s&received=0"):format(peer.secret)
          local request
          request, keys[i] = client.handshake(path)
          sources[i] = assert(stream.connect(app.addresses[1]))
          sources[i]:write(request)
          if i == 4 then session.start(app:url()):send("close all") end
        end
        for i, source in ipairs(sources) do
          local socket = assert(client.attach(source, keys[i]))
          local first = socket:receive()
          if first then assert.equal("session", cjson.decode(first).type) end
        end
        stream.close_all()
      end
    end)
  end)
end
