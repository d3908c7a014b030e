-- address_rates_spec.lua -- limits.connection_rate and limits.request_rate: how fast one address
-- may connect and send plain requests. A `per` of an hour keeps the clock out of the tests.

local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
  return {
    limits = { LIMITS }, MORE
    endpoints = { ["/ws"] = { handle_message = function(conn, message) conn:send(message) end } },
    http = {
      ["/hello"] = function() return "hello" end,
      ["/files"] = { static = "." },
      ["POST /body"] = function(request) return tostring(#request.body) end,
    },
  }
]]

local function app_with(limits, more)
  return (APP:gsub("%u%u%u%u+", { LIMITS = limits, MORE = more or "" }))
end

local function start(limits, listen, more)
  return server.start({
    app = app_with(limits, more), listen = listen,
    options = { "--admin", "127.0.0.1:0", "--log-level", "debug" },
  })
end

local function metric(app, name)
  local body = http.request(app.admin, "/metrics").body
  return tonumber(body:match("\n" .. name .. " (%d+)"))
end

describe("the rate of connections of one address", function()
  after_each(stream.close_all)

  it("is limited by limits.connection_rate, with 429 and the time of the next", function()
    local app <close> = start("connection_rate = { connections = 2, per = 3600, burst = 5 }")
    if app.addresses[1].tls then
      for _ = 1, 5 do assert.equal("x", (app:connect("/ws"):ask("x"))) end
      assert.is_nil((client.connect(app:url("/ws"))))
      return
    end
    for number = 1, 5 do
      if number % 2 == 0 then
        assert.equal(200, app:http("/hello").status)
      else
        assert.equal("x", (app:connect("/ws"):ask("x")))
      end
    end
    for _ = 1, 3 do
      local none, status, headers, body = client.connect(app:url("/ws"))
      assert.same({ nil, 429 }, { none, status })
      local seconds = tonumber(headers["retry-after"])
      assert.is_true(seconds > 1700 and seconds <= 1800, "Retry-After: " .. seconds)
      assert.matches('"error":"Too many new connections from this address%."', body)
      assert.equal(429, app:http("/hello").status)
    end
    local line = app:wait_for_log("event=refused")
    assert.matches(" path=/ws ", line)
    assert.matches(" status=429 ", line)
    assert.matches('why="Too many new connections from this address%."', line)
    assert.equal(6, metric(app, "tidewire_connections_refused_total"))
  end)

  it("lets the next one in when its time has come", function()
    local app <close> = start("connection_rate = { connections = 1, per = 1, burst = 2 }")
    local deadline, accepted, began = loop.now() + loop.patience, 0, loop.now()
    repeat
      local peer = client.connect(app:url("/ws"))
      if peer then
        accepted = accepted + 1
        peer:drop()
      end
    until accepted == 4 or loop.now() > deadline
    assert.equal(4, accepted)
    assert.is_true(loop.now() - began >= 1.9)
  end)

  it("costs no TLS handshake where it is exceeded", function()
    local app <close> = start("connection_rate = { connections = 1, per = 3600, burst = 2 }")
    if not app.addresses[1].tls then return end
    app:connect("/ws")
    app:connect("/ws")
    for _ = 1, 20 do assert.is_nil((client.connect(app:url("/ws")))) end
    assert.is_true(metric(app, "tidewire_tls_handshakes_total") <= 2)
    assert.equal(0, metric(app, "tidewire_tls_failures_total"))
    assert.matches('why="Too many new connections from this address%."',
      app:wait_for_log("event=refused"))
  end)

  it("counts each address by itself, and clients of a Unix socket not at all", function()
    local app <close> = start("connection_rate = { connections = 1, per = 3600 }",
      { "127.0.0.1:0", "[::1]:0", "unix:app.sock" })
    app.addresses[3].path = app.directory .. "/app.sock"
    app:connect("/ws")
    assert.is_nil((client.connect(app:url("/ws", 1))))
    assert.equal("x", (assert(client.connect(app:url("/ws", 2))):ask("x")))
    assert.is_nil((client.connect(app:url("/ws", 2))))
    for _ = 1, 10 do
      assert.equal("x", (assert(client.connect(app:url("/ws", 3))):ask("x")))
    end
  end)

  it("is no limit of the admin address", function()
    local app <close> = start("connection_rate = { connections = 1, per = 3600 }, "
      .. "request_rate = { requests = 1, per = 3600 }")
    for _ = 1, 10 do assert.equal(200, http.request(app.admin, "/readyz").status) end
  end)

  it("is changed by a reload", function()
    local app <close> = start("connection_rate = { connections = 1, per = 3600 }")
    local ada = app:connect("/ws")
    assert.is_nil((client.connect(app:url("/ws"))))
    reloads.good(app, app_with(""))
    for _ = 1, 5 do app:connect("/ws") end
    reloads.good(app, app_with("connection_rate = { connections = 2, per = 3600 }"))
    app:connect("/ws") -- the one token above that of the old rate
    assert.is_nil((client.connect(app:url("/ws"))))
    assert.equal("still", (ada:ask("still")))
  end)
end)

describe("the rate of plain requests of one address", function()
  after_each(stream.close_all)

  it("is limited by limits.request_rate, and handshakes are not", function()
    local app <close> = start("request_rate = { requests = 1, per = 3600, burst = 4 }")
    assert.equal(200, app:http("/hello").status)
    assert.equal(200, app:http("/files/app.lua").status)
    assert.equal(404, app:http("/nowhere").status)
    assert.equal("3", app:http({ method = "POST", path = "/body", body = "abc" }).body)
    for _, request in ipairs {
      "/hello", "/files/app.lua", { method = "POST", path = "/body", body = ("x"):rep(100000) },
    } do
      local response = app:http(request)
      assert.equal(429, response.status)
      local seconds = tonumber(response.headers["retry-after"])
      assert.is_true(seconds > 3500 and seconds <= 3600)
      assert.matches('"error":"Too many requests from this address%."', response.body)
    end
    assert.equal("x", (app:connect("/ws"):ask("x")))
    assert.equal(3, metric(app, "tidewire_requests_refused_total"))
    local line = app:wait_for_log("event=refused .-status=429")
    assert.matches(" method=GET path=/hello ", line)
  end)

  it("counts each request of a connection that is kept, and closes it above the rate", function()
    local app <close> = start("request_rate = { requests = 3, per = 3600 }")
    local source = assert(stream.connect(app.addresses[1]))
    source:write(("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"):rep(10))
    for number = 1, 4 do
      assert.equal(number <= 3 and 200 or 429, assert(http.read_response(source)).status)
    end
    assert.is_truthy(source:wait_end())
    assert.equal(0, source:available())
  end)

  it("is exceeded by a flood of requests without a call of a script", function()
    local app <close> = start("request_rate = { requests = 10, per = 3600 }")
    local answered, refused = 0, 0
    for _ = 1, 200 do
      local status = app:http("/hello").status
      answered = answered + (status == 200 and 1 or 0)
      refused = refused + (status == 429 and 1 or 0)
    end
    assert.same({ 10, 190 }, { answered, refused })
    assert.equal(10, metric(app, "tidewire_http_requests_total"))
  end)
end)

describe("the rates of an address behind a trusted proxy", function()
  after_each(stream.close_all)

  local RATES = "connection_rate = { connections = 2, per = 3600 }, "
    .. "request_rate = { requests = 3, per = 3600 }"

  it("are those of the client that a header names", function()
    local app <close> = start(RATES, nil, 'trusted_proxies = { "127.0.0.1" },')
    for _, address in ipairs { "192.0.2.1", "192.0.2.2", "2001:db8::1" } do
      local named = { headers = { ["X-Forwarded-For"] = address } }
      for _ = 1, 2 do
        assert.equal("x", (assert(client.connect(app:url("/ws"), named)):ask("x")))
      end
      local _, status, headers = client.connect(app:url("/ws"), named)
      assert.equal(429, status)
      assert.is_true(tonumber(headers["retry-after"]) > 1700)
      for number = 1, 5 do
        local request = { path = "/hello", headers = named.headers }
        assert.equal(number <= 3 and 200 or 429, app:http(request).status)
      end
    end
    -- another address of the same /64
    local headers = { ["X-Forwarded-For"] = "2001:db8::2" }
    assert.equal(429, select(2, client.connect(app:url("/ws"), { headers = headers })))
    assert.equal(429, app:http({ path = "/hello", headers = headers }).status)
  end)

  it("leave the proxy its connection, unless the body of the refused request is still to come",
    function()
      local app <close> = start(RATES, nil, 'trusted_proxies = { "127.0.0.1" },')
      local function request(address, what, rest)
        return ("%s HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\n%s"):format(what, address,
          rest or "\r\n")
      end
      local source = assert(stream.connect(app.addresses[1]))
      local function read(method)
        local response = assert(http.read_response(source, method))
        return { response.status, response.headers.connection }
      end
      source:write(request("192.0.2.1", "GET /hello"):rep(3))
      for _ = 1, 3 do assert.same({ 200, "keep-alive" }, read()) end
      local body = "Content-Length: 28\r\n\r\nGET /hello HTTP/1.1\r\nHost: y"
      local refused = request("192.0.2.1", "GET /hello") .. request("192.0.2.1", "POST /body", body)
        .. request("192.0.2.1", "POST /body", "Content-Length: 0\r\n\r\n")
      source:write(refused:rep(5) .. request("192.0.2.2", "GET /hello"))
      for _ = 1, 15 do assert.same({ 429, "keep-alive" }, read()) end
      assert.same({ 200, "keep-alive" }, read())
      source:write(request("192.0.2.1", "HEAD /hello"))
      assert.same({ 429, "keep-alive" }, read("HEAD"))
      source:write(request("192.0.2.2", "POST /body", "Content-Length: 3\r\n\r\nabc"))
      assert.same({ 200, "keep-alive" }, read())
      source:write(request("192.0.2.1", "GET /hello", "Connection: close\r\n\r\n"))
      assert.same({ 429, "close" }, read())
      assert.is_truthy(source:wait_end())
      for _, rest in ipairs {
        "Content-Length: 100\r\n\r\nabc", "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      } do
        source = assert(stream.connect(app.addresses[1]))
        source:write(request("192.0.2.1", "POST /body", rest))
        assert.same({ 429, "close" }, read())
        assert.is_truthy(source:wait_end())
      end
      -- the proxy names no client: it is the client
      source = assert(stream.connect(app.addresses[1]))
      source:write(("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"):rep(4))
      for _ = 1, 3 do assert.same({ 200, "keep-alive" }, read()) end
      assert.same({ 429, "close" }, read())
    end)

  it("are those of the client that the PROXY header names", function()
    local app <close> =
      start(RATES, nil, 'trusted_proxies = { "127.0.0.1" }, proxy_protocol = true,')
    local secure = app.addresses[1].tls
    local function ask(address)
      -- without TLS: that is 400 on a secure address, and costs the connection all the same
      local plain = { host = app.addresses[1].host, port = app.addresses[1].port }
      local source = assert(stream.connect(plain))
      source:write(("PROXY TCP4 %s 127.0.0.1 5000 80\r\n"):format(address)
        .. "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
      local response = http.read_response(source)
      return response and response.status or "nothing"
    end
    local expected = secure and { 400, 400, "nothing" } or { 200, 200, 429 }
    for _, address in ipairs { "192.0.2.1", "192.0.2.2" } do
      assert.same(expected, { ask(address), ask(address), ask(address) })
    end
    if secure then
      assert.matches('remote=192%.0%.2%.1.* why="Too many new connections from this address%."',
        app:wait_for_log("event=refused .-Too many new connections"))
    end
  end)
end)
