-- keep_alive_spec.lua -- several plain requests on one connection, one after the other or all at
-- once: answers in order, strict about each request, and bounded.

local cjson = require "cjson"
local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
  local record, tw = require "record", require "tidewire"
  local go
  return {
    limits = { LIMITS },
    endpoints = { ["/ws"] = { handle_message = function(conn, message) conn:send(message) end } },
    http = {
      ["GET /n/:n"] = function(request) return request.params.n end,
      ["POST /n/:n"] = function(request)
        return ("%s %s"):format(request.params.n, request.body)
      end,
      ["GET /waits"] = function()
        record("asked")
        tw.await(function(done) go = done end)
        return "waited"
      end,
      ["GET /go"] = function() go() return 204 end,
      ["GET /none"] = function() return 204 end,
      ["GET /fails"] = function() error("a fault of the script") end,
      ["/files"] = { static = "public" },
    },
  }
]]

local LARGE = ("0123456789abcdef"):rep(1 << 16) -- 1 MiB

local function start(limits, options)
  options = options or {}
  options.app = APP:gsub("LIMITS", limits or "")
  options.files = { ["public/small.txt"] = "small", ["public/large.bin"] = LARGE }
  return server.start(options)
end

local function request(line, lines)
  return ("%s HTTP/1.1\r\nHost: x\r\n%s\r\n"):format(line, lines or "")
end

local function get(path, lines) return request("GET " .. path, lines) end

local function handshake()
  return get("/ws", "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    .. "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
end

local function read(peer, method)
  local response, problem = http.read_response(peer, method)
  return response or error("no answer: " .. problem)
end

local function figures(app)
  return cjson.decode(http.request(app.admin, "/stats").body)
end

describe("a connection of plain HTTP", function()
  after_each(stream.close_all)

  it("has many requests, of routes, files and methods", function()
    local app <close> = start()
    local peer = assert(stream.connect(app.addresses[1]))
    local function ask(bytes, method)
      peer:write(bytes)
      return read(peer, method)
    end
    for round = 1, 3 do
      local response = ask(get("/n/" .. round))
      assert.same({ 200, tostring(round), "keep-alive", "timeout=75" }, { response.status,
        response.body, response.headers.connection, response.headers["keep-alive"] })
      assert.equal("small", ask(get("/files/small.txt")).body)
      assert.is_true(ask(get("/files/large.bin")).body == LARGE)
      assert.equal("7 hello", ask(request("POST /n/7", "Content-Length: 5\r\n") .. "hello").body)
      assert.equal("8 abc", ask(request("POST /n/8", "Transfer-Encoding: chunked\r\n")
        .. "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n").body)
      assert.equal(404, ask(get("/missing")).status)
      assert.equal(405, ask(request("DELETE /n/1", "Content-Length: 3\r\n") .. "bye").status)
      assert.equal(500, ask(get("/fails")).status)
      response = ask(get("/files/small.txt"))
      peer:write(get("/files/small.txt", "If-None-Match: " .. response.headers.etag .. "\r\n")
        .. get("/none") .. "HEAD /n/12 HTTP/1.1\r\nHost: x\r\n\r\n" .. get("/n/last"))
      loop.wait_until(function() return peer:peek():find("\r\n\r\nlast", 1, true) end)
      local statuses = {}
      for status in peer:take(peer:available()):gmatch("HTTP/1.1 (%d+)") do
        statuses[#statuses + 1] = status
      end
      assert.equal("304 204 200 200", table.concat(statuses, " "))
    end
    local response = ask(get("/n/9", "Connection: close\r\n"))
    assert.same({ "9", "close" }, { response.body, response.headers.connection })
    assert.equal("eof", peer:wait_end())
  end)

  it("becomes a WebSocket by its second or its fifth request", function()
    local app <close> = start()
    for _, before in ipairs({ 1, 4 }) do
      for _, at_once in ipairs({ false, true }) do
        local peer = assert(stream.connect(app.addresses[1]))
        local hello = frames.encode({ opcode = frames.TEXT, payload = "hello", mask = "abcd" })
        if at_once then
          peer:write(get("/n/1"):rep(before) .. handshake() .. hello)
        end
        for _ = 1, before do
          if not at_once then peer:write(get("/n/1")) end
          assert.equal("1", read(peer).body)
        end
        if not at_once then peer:write(handshake() .. hello) end
        assert.equal(101, read(peer).status)
        assert.is_truthy(loop.wait_until(function()
          return peer:peek():find("hello", 1, true)
        end), "no echo")
      end
    end
  end)

  it("reads as a WebSocket also where many requests before it had paused the reading", function()
    local app <close> = start()
    local peer = assert(stream.connect(app.addresses[1]))
    local function frame(text)
      return frames.encode({ opcode = frames.TEXT, payload = text, mask = "abcd" })
    end
    peer:write(get("/n/1"):rep(900) .. handshake() .. frame("ahead"))
    for _ = 1, 900 do assert.equal("1", read(peer).body) end
    assert.equal(101, read(peer).status)
    for _, text in ipairs({ "ahead", "behind" }) do
      if text == "behind" then peer:write(frame(text)) end
      assert.is_truthy(loop.wait_until(function()
        return peer:peek():find(text, 1, true)
      end), text)
    end
  end)

  it("has its answers in the order of its requests, however they arrive", function()
    local app <close> = start("keep_alive_requests = 100000")
    local texts = {}
    for index = 1, 3000 do texts[index] = get("/n/" .. index) end
    local bytes = table.concat(texts)
    for _, piece in ipairs({ #bytes, 1000 }) do
      local peer = assert(stream.connect(app.addresses[1]))
      for at = 1, #bytes, piece do peer:write(bytes:sub(at, at + piece - 1)) end
      for index = 1, 3000 do assert.equal(tostring(index), read(peer).body) end
    end
    local peer = assert(stream.connect(app.addresses[1]))
    for at = 1, 300 do -- byte by byte
      peer:write(bytes:sub(at, at))
      peer:flush()
    end
    assert.equal("1", read(peer).body)
    assert.equal("2", read(peer).body)
  end)

  it("has one request at a time: the next one waits for the answer of a route that waits",
    function()
      local app <close> = start(nil, { workers = 1 })
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(get("/n/1") .. get("/waits") .. get("/n/3") .. get("/n/4"))
      assert.equal("1", read(peer).body)
      app:wait_event("asked")
      assert.equal("other", http.request(app.addresses[1], "/n/other").body)
      assert.equal(0, peer:available())
      assert.equal(204, http.request(app.addresses[1], "/go").status)
      for _, body in ipairs({ "waited", "3", "4" }) do assert.equal(body, read(peer).body) end
    end)

  it("answers all requests of a client that has ended its direction", function()
    local app <close> = start(nil, { workers = 1 })
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write(get("/n/1") .. get("/waits") .. get("/files/large.bin") .. get("/n/4"))
    peer:flush()
    peer:half_close()
    app:wait_event("asked")
    assert.equal(204, http.request(app.addresses[1], "/go").status)
    assert.equal("1", read(peer).body)
    assert.equal("waited", read(peer).body)
    assert.is_true(read(peer).body == LARGE)
    local last = read(peer)
    assert.same({ "4", "close" }, { last.body, last.headers.connection })
    assert.equal("eof", peer:wait_end())
  end)

  it("leaves half_closed_seconds to each route that waits, not only the first", function()
    local app <close> = start("half_closed_seconds = 0.3", { workers = 1 })
    local peer = assert(stream.connect(app.addresses[1], { receive_buffer = 4096 }))
    peer:pause() -- so the server knows of the end before it comes to the last request
    peer:write(get("/files/large.bin"):rep(16) .. get("/waits"))
    peer:flush()
    peer:half_close()
    assert.equal("other", app:http("/n/other").body)
    peer:catch_up()
    for _ = 1, 16 do assert.equal(#LARGE, #read(peer).body) end
    app:wait_event("asked")
    assert.is_truthy(peer:wait_end())
    assert.equal(0, peer:available())
  end)

  it("ends with the first wrong request, and nothing behind that is one", function()
    local app <close> = start()
    for _, wrong in ipairs({
      "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\r\n\r\n", "nonsense(\r\n\r\n", "\0\1\2\3",
      "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
      request("POST /", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") .. "0\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
      "GET /" .. ("x"):rep(20000) .. " HTTP/1.1\r\n", "GET / HTTP/1.1\r\nA: " .. ("x"):rep(20000),
    }) do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(get("/n/1") .. get("/n/2") .. wrong .. get("/n/never") .. get("/n/never"))
      assert.equal("1", read(peer).body)
      assert.equal("2", read(peer).body)
      local response = assert(http.read_response(peer), wrong:sub(1, 80))
      assert.is_true(response.status >= 400 and response.status <= 501, wrong:sub(1, 80))
      assert.equal("close", response.headers.connection)
      assert.is_truthy(peer:wait_end())
      assert.is_nil(peer:peek():find("never", 1, true))
    end
  end)

  it("ends with a refusal, which has no body where the method is HEAD", function()
    local app <close> = start("request_rate = { requests = 1, per = 3600 }")
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write(get("/n/1"))
    assert.equal("1", read(peer).body)
    peer:write(request("HEAD /n/2"))
    local response = read(peer, "HEAD")
    assert.same({ 429, "close" }, { response.status, response.headers.connection })
    assert.is_true(tonumber(response.headers["content-length"]) > 0)
    assert.equal("eof", peer:wait_end())
    assert.equal(0, peer:available())
  end)

  it("ends after keep_alive_requests, and after keep_alive_seconds without a request", function()
    local app <close> = start("keep_alive_requests = 3, keep_alive_seconds = 0.2")
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write(get("/n/1"):rep(5))
    for index = 1, 3 do
      assert.equal(index < 3 and "keep-alive" or "close", read(peer).headers.connection)
    end
    assert.equal("eof", peer:wait_end())
    assert.equal(0, peer:available())
    peer = assert(stream.connect(app.addresses[1]))
    peer:write(get("/n/1"))
    assert.equal("keep-alive", read(peer).headers.connection)
    assert.is_truthy(peer:wait_end())
    assert.equal(0, peer:available())
  end)

  it("is not kept where keep_alive_seconds is 0", function()
    local app <close> = start("keep_alive_seconds = 0")
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write(get("/n/1", "Connection: keep-alive\r\n"):rep(2))
    assert.equal("close", read(peer).headers.connection)
    assert.equal("eof", peer:wait_end())
    assert.equal(0, peer:available())
  end)

  it("has handshake_seconds for each request", function()
    local app <close> = start("handshake_seconds = 0.3")
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write(get("/n/1"))
    assert.equal("1", read(peer).body)
    peer:write("GET /n/2 HTTP/1.1\r\nHo")
    local response = read(peer)
    assert.same({ 408, "close" }, { response.status, response.headers.connection })
    assert.is_truthy(peer:wait_end())
  end)

  it("of a client that reads nothing and sends requests without end is bounded and cut off",
    function()
      local app <close> = start(
        "send_timeout = 0.5, min_send_rate = 0, keep_alive_requests = 1000000",
        { options = { "--admin", "127.0.0.1:0" }, workers = 1 })
      local before, descriptors = figures(app).resident_bytes, app.process:fd_count()
      local peers = {}
      for index = 1, 10 do
        peers[index] = assert(stream.connect(app.addresses[1], { receive_buffer = 4096 }))
        peers[index]:pause()
        peers[index]:write(get("/files/large.bin"):rep(40000)) -- 1.6 MB
      end
      assert.equal("other", app:http("/n/other").body)
      assert.equal(10, loop.ask_until(function() return figures(app).slow_readers end, 10))
      if not app.process:is_sanitized() then -- which keeps what is freed
        assert.is_true(figures(app).resident_bytes - before < 32 << 20)
      end
      assert.is_true(loop.ask_until(function()
        return app.process:fd_count() <= descriptors
      end, true))
    end)

  it("survives clients that reset it between and within requests", function()
    local app <close> = start()
    local descriptors = app.process:fd_count()
    for index = 1, 60 do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(get("/n/1"):rep(index % 7) .. get("/files/large.bin"):rep(index % 3)
        .. get("/n/2"):sub(1, index % 30))
      peer:flush()
      if index % 2 == 0 and index % 7 > 0 then read(peer) end
      peer:abort()
    end
    assert.equal("1", app:http("/n/1").body)
    assert.is_true(loop.ask_until(function()
      return app.process:fd_count() <= descriptors
    end, true))
  end)

  it("takes no request after SIGTERM, and the idle ones close at once", function()
    local app <close> = start(nil, { workers = 1 })
    local idle = assert(stream.connect(app.addresses[1]))
    local waits = assert(stream.connect(app.addresses[1]))
    idle:write(get("/n/1"))
    assert.equal("keep-alive", read(idle).headers.connection)
    waits:write(get("/n/1") .. get("/waits") .. get("/n/never"))
    read(waits)
    app:wait_event("asked")
    local other = assert(stream.connect(app.addresses[1]))
    other:write(get("/n/1"))
    read(other)
    other:write("GET /go HT") -- a request under way
    loop.ask_until(function() return app:http("/n/2").body end, "2")
    app:signal("sigterm")
    assert.is_truthy(idle:wait_end())
    other:write("TP/1.1\r\nHost: x\r\n\r\n")
    local last = read(other)
    assert.same({ 204, "close" }, { last.status, last.headers.connection })
    last = read(waits)
    assert.same({ "waited", "close" }, { last.body, last.headers.connection })
    assert.equal("eof", waits:wait_end())
    assert.equal(0, waits:available())
    app:stop()
  end)

  it("goes on over a reload: the answer to its next request is the new code's, and the last",
    function()
      local app <close> = start()
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(get("/n/1"))
      assert.equal("1", read(peer).body)
      local source = process.read_file(app.directory .. "/app.lua")
      process.write_file(app.directory .. "/app.lua",
        (source:gsub("return request.params.n", 'return "new"')))
      app:signal("sighup")
      app:wait_for_log("event=reloaded")
      peer:write(get("/n/2"))
      local response = read(peer)
      assert.same({ "new", "close" }, { response.body, response.headers.connection })
      assert.equal("eof", peer:wait_end())
    end)

  -- As many connections that wait for their second request.
  local function idle_ones(address, count)
    local peers = {}
    for index = 1, count do
      peers[index] = assert(stream.connect(address))
      peers[index]:write(get("/n/" .. index))
      assert.equal("keep-alive", read(peers[index]).headers.connection)
    end
    return peers
  end

  local function count_ended(peers)
    local count = 0
    for _, peer in ipairs(peers) do count = count + (peer.ended and 1 or 0) end
    return count
  end

  it("without a request gives its place to a new client, of plain HTTP or a WebSocket", function()
    local app <close> = start("connections = 10", { options = { "--admin", "127.0.0.1:0" } })
    local peers = idle_ones(app.addresses[1], 10)
    local clients = {}
    for index = 1, 10 do clients[index] = app:connect("/ws") end
    assert.equal(10, loop.wait_until(function()
      local count = count_ended(peers)
      return count == 10 and count
    end))
    assert.equal(503, app:http("/n/1").status) -- the clients do not go
    clients[10]:close(1000)
    assert.equal("1", loop.ask_until(function() return app:http("/n/1").body end, "1"))
    assert.equal(10, loop.ask_until(function() return figures(app).idle_evicted end, 10))
    assert.equal("still", (clients[1]:ask("still")))
  end)

  it("without a request gives its place to a client of its address", function()
    local app <close> = start("per_address = 4, connections = 100",
      { listen = { "127.0.0.1:0", "[::1]:0" } })
    local other = idle_ones(app.addresses[2], 4)
    local peers = idle_ones(app.addresses[1], 4)
    for _ = 1, 3 do app:connect("/ws") end
    assert.is_truthy(loop.wait_until(function() return count_ended(peers) >= 3 end))
    assert.equal(0, count_ended(other))
    app:connect("/ws")
    assert.equal(429, app:http("/n/1").status)
    other[1]:write(get("/n/again"))
    assert.equal("again", read(other[1]).body)
  end)

  it("is kept at the admin address too", function()
    local app <close> = start(nil, {
      options = { "--admin", "127.0.0.1:0", "--admin-hosts", "x" },
    })
    local peer = assert(stream.connect(app.admin))
    for _ = 1, 3 do
      for _, path in ipairs({ "/metrics", "/stats", "/healthz", "/readyz" }) do
        peer:write(get(path))
        local response = read(peer)
        assert.same({ 200, "keep-alive" }, { response.status, response.headers.connection })
      end
    end
    assert.equal(200, http.request(app.admin, "/healthz").status)
  end)

  it("is kept on a Unix socket", function()
    local app <close> = start(nil, { listen = { "unix:app.sock" } })
    local peer = assert(stream.connect({ path = app.directory .. "/app.sock" }))
    for index = 1, 3 do
      peer:write(get("/n/" .. index))
      assert.equal(tostring(index), read(peer).body)
    end
  end)
end)
