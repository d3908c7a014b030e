-- http_limits_spec.lua -- plain HTTP has limits as WebSockets have: on sockets, on bytes of bodies
-- and responses, and on how slowly a client may read.

local cjson = require "cjson"
local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
  local record, tw = require "record", require "tidewire"
  return {
    limits = { LIMITS },
    endpoints = { ["/ws"] = { handle_message = function(conn, message) conn:send(message) end } },
    http = {
      ["GET /waits"] = function() record("asked") tw.await(function() end) end,
      ["GET /large"] = function() return ("x"):rep(4 << 20) end,
      ["POST /"] = function(request) return tostring(#request.body) end,
      ["/files"] = { static = "public" },
    },
  }
]]

local function start(limits, listen)
  return server.start({
    app = (APP:gsub("LIMITS", limits)), files = { ["public/small.txt"] = "small" },
    options = { "--admin", "127.0.0.1:0" }, listen = listen,
  })
end

local function figures(app)
  return cjson.decode(http.request(app.admin, "/stats").body)
end

local function ask(address, path, options)
  local peer = assert(stream.connect(address, options))
  peer:write(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path))
  return peer
end

-- What is answered to a plain request and to a handshake.
local function assert_refused(app, status)
  local response = app:http("/files/small.txt")
  assert.equal(status, response.status)
  assert.is_number(tonumber(response.headers["retry-after"]), "no Retry-After")
  assert.is_true(#response.body > 0)
  assert.equal(status, (select(2, client.connect(app:url("/ws")))))
end

local function status_of(app)
  return app:http("/files/small.txt").status
end

describe("plain requests and sockets without a request", function()
  after_each(stream.close_all)

  it("count in limits.connections", function()
    local app <close> = start("connections = 4, handshake_seconds = 3600")
    local silent = assert(stream.connect(app.addresses[1]))
    local half = assert(stream.connect(app.addresses[1]))
    half:write("GET /files/small.txt HTTP/1.1\r\n")
    local waits = ask(app.addresses[1], "/waits")
    app:wait_event("asked")
    local ada = app:connect("/ws")
    assert.equal(4, loop.ask_until(function() return figures(app).sockets end, 4))
    assert_refused(app, 503)
    assert.equal("still", (ada:ask("still")))
    for _, each in ipairs({ silent, half, waits, ada.stream }) do
      each:abort()
      assert.equal(200, loop.ask_until(function() return status_of(app) end, 200))
      loop.ask_until(function() return figures(app).sockets <= 3 end, true)
      local again = assert(stream.connect(app.addresses[1])) -- takes its place
      assert.equal(4, loop.ask_until(function() return figures(app).sockets end, 4))
      assert_refused(app, 503)
      assert.is_nil(again.ended)
    end
    assert.is_true(figures(app).connections_refused >= 10)
  end)

  it("count in limits.per_address, and the admin address does not", function()
    local app <close> = start("per_address = 3, handshake_seconds = 3600",
      { "127.0.0.1:0", "[::1]:0" })
    for index = 1, 2 do
      ask(app.addresses[1], "/waits")
      app:wait_event("asked", index)
    end
    local ada = app:connect("/ws")
    assert_refused(app, 429)
    -- from another one
    assert.equal("small", http.request(app.addresses[2], "/files/small.txt").body)
    assert.equal(200, http.request(app.admin, "/healthz").status)
    ada:close(1000)
    assert.equal(200, loop.ask_until(function() return status_of(app) end, 200))
    local bob
    loop.ask_until(function() -- the place of what was asked last is free soon, too
      bob = client.connect(app:url("/ws"))
      return bob ~= nil
    end, true)
    assert.equal("again", (bob:ask("again")))
  end)

  it("are closed without an answer where too many are being refused already", function()
    local app <close> = start("connections = 1, handshake_seconds = 3600")
    local first, peers, closed = app:connect("/ws"), {}, false
    local function one_is_closed()
      for _, each in ipairs(peers) do closed = closed or each.ended end
      return closed and true
    end
    for _ = 1, 600 do
      local peer = stream.connect(app.addresses[1])
      peers[#peers + 1] = peer
      closed = closed or not peer
      if one_is_closed() then break end
    end
    assert.is_true(loop.wait_until(one_is_closed), "no connection is closed")
    assert.is_true(#peers > 100, "too few are connected")
    assert.equal("served", (first:ask("served")))
    for _, each in ipairs(peers) do each:close() end
    assert.equal(503, loop.ask_until(function()
      local response = http.request(app.addresses[1], "/files/small.txt")
      return response and response.status
    end, 503))
    first:close(1000)
    assert.equal(200, loop.ask_until(function()
      local response = http.request(app.addresses[1], "/files/small.txt")
      return response and response.status
    end, 200))
  end)
end)

describe("bodies that are under way", function()
  after_each(stream.close_all)

  local function upload(address)
    local peer = assert(stream.connect(address))
    peer:write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" .. ("b"):rep(600000))
    return peer
  end

  it("of one address are limited, and others' are not", function()
    local app <close> = start('upload_backlog_per_address = "1M", handshake_seconds = 3600',
      { "127.0.0.1:0", "[::1]:0" })
    local peers, response = { upload(app.addresses[1]), upload(app.addresses[1]) }, nil
    loop.ask_until(function() -- whichever comes second
      response = http.read_response(peers[1], nil, 0.2)
      if response then peers[1], peers[2] = peers[2], peers[1] end
      response = response or http.read_response(peers[2], nil, 0.2)
      return response ~= nil
    end, true)
    local first = peers[1]
    assert.equal(429, response.status)
    assert.is_number(tonumber(response.headers["retry-after"]))
    local other = http.request(app.addresses[2], { method = "POST", body = ("o"):rep(900000) })
    assert.same({ 200, "900000" }, { other.status, other.body })
    first:write(("b"):rep(300000))
    assert.equal("900000", http.read_response(first).body)
    assert.is_true(figures(app).requests_refused >= 1)
    assert.equal("5", app:http({ method = "POST", body = "again" }).body)
  end)

  it("of all are limited", function()
    local app <close> =
      start('upload_backlog = "2M", upload_backlog_per_address = "64M", handshake_seconds = 3600')
    local peers, response = {}, nil
    loop.ask_until(function()
      peers[#peers + 1] = upload(app.addresses[1])
      response = http.read_response(peers[#peers], nil, 0.2)
      return response ~= nil
    end, true)
    assert.equal(503, response.status)
    for _, each in ipairs(peers) do each:close() end
    assert.equal("900000", loop.ask_until(function()
      return app:http({ method = "POST", body = ("b"):rep(900000) }).body
    end, "900000"))
  end)
end)

describe("answers that wait for their readers", function()
  after_each(stream.close_all)

  it("are limited in bytes", function()
    local app <close> = start('response_backlog = "10M"', { "unix:app.sock", "127.0.0.1:0" })
    local unix = { path = app.directory .. "/app.sock" } -- whose buffers are small
    local readers = {}
    local function waiting()
      local peer = assert(stream.connect(unix))
      peer:pause()
      peer:write("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
      readers[#readers + 1] = peer
      -- later than that, whichever process has answered it
      assert.equal(200, http.request(unix, "/files/small.txt").status)
    end
    for _ = 1, 10 do waiting() end
    local refused = loop.ask_until(function() return figures(app).requests_refused >= 8 end, true)
    assert.is_true(refused)
    assert.equal(8, figures(app).requests_refused)
    local answered = {}
    for _, peer in ipairs(readers) do
      peer:resume()
      local response = http.read_response(peer, nil, loop.patience * 2)
      answered[response.status] = (answered[response.status] or 0) + 1
      assert.equal(response.status == 200 and 4 << 20 or #response.body, #response.body)
      if response.status ~= 200 then assert.is_number(tonumber(response.headers["retry-after"])) end
    end
    assert.same({ [200] = 2, [503] = 8 }, answered)
    assert.equal(4 << 20, #http.request(unix, "/large").body)
  end)

  local LARGE = 1 << 30 -- larger than any buffer of the kernel's; the file has no blocks

  local function with_large_file(limits)
    local app = start(limits)
    assert(os.execute(("truncate -s %d '%s/public/large.bin'"):format(LARGE, app.directory)))
    return app
  end

  it("are cut off where the reader stops, and where it reads a little now and then", function()
    local app <close> = with_large_file('send_timeout = 0.3, min_send_rate = "512M"')
    local before = app.process:fd_count()
    local still = ask(app.addresses[1], "/files/large.bin", { receive_buffer = 4096 })
    still:pause()
    local drips = ask(app.addresses[1], "/files/large.bin", { receive_buffer = 4096 })
    drips:pause()
    local over = loop.ask_until(function()
      drips:resume() -- one read
      loop.pass(0)
      drips:pause()
      return figures(app).slow_readers
    end, 2)
    assert.equal(2, over, "a slow reader goes on for ever")
    assert.equal(before, loop.ask_until(function() return app.process:fd_count() end, before))
    still:resume()
    assert.is_truthy(still:wait_end())
    assert.is_true(still:available() < LARGE)
  end)

  it("are not cut off while the reader reads", function()
    local app <close> = with_large_file('send_timeout = 3, min_send_rate = "1K"')
    local peer = ask(app.addresses[1], "/files/large.bin", { receive_buffer = 4096 })
    local over = loop.now() + 7
    repeat
      peer:take(peer:available())
      peer:pause()
      loop.pass(0.01)
      peer:resume()
      loop.pass(0)
    until loop.now() > over or peer.ended
    assert.is_nil(peer.ended)
    assert.equal(0, figures(app).slow_readers)
  end)
end)
