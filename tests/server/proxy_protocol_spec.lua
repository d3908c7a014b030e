-- proxy_protocol_spec.lua -- connections that begin with a header of the PROXY protocol: from
-- trusted proxies, and only from them; in pieces, with TLS, and malformed in every way.

local certificates = require "support.certificates"
local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local function describe(request)
  return request.remote_address .. (request.secure and " secure" or " plain")
end
return {
  trusted_proxies = { "127.0.0.1", "10.0.0.0/8", "unix" }, proxy_protocol = true,
  LIMITS
  endpoints = {
    ["/"] = { handle_message = function(conn) conn:send(describe(conn)) end },
  },
  http = { ["/who"] = function(request) return describe(request) end },
}
]]

local WHO = "GET /who HTTP/1.1\r\nHost: a\r\n\r\n"

-- Version 1, without TLS unless the program's environment has a certificate.
local function v1(address, family)
  local other = (family or "TCP4") == "TCP4" and "198.51.100.7" or "2001:db8::7"
  return ("PROXY %s %s %s 56324 443\r\n"):format(family or "TCP4", address, other)
end

-- Version 2: the family's byte, and the bytes behind the length.
local function v2(family, rest, command)
  return "\r\n\r\n\0\r\nQUIT\n"
    .. string.pack(">BBs2", command or 0x21, family, rest)
end

local IPV4 = "\192\0\2\1\198\51\100\7\220\4\1\187" -- from 192.0.2.1
local IPV6 = "\x20\x01\x0d\xb8" .. ("\0"):rep(11) .. "\1" .. ("\0"):rep(16) .. "\1\2\3\4"
local TLS_USED = "\x20\0\5\1\0\0\0\0"

local function start(limits, options)
  options = options or {}
  options.app = APP:gsub("LIMITS", limits or "")
  options.options = options.options or { "--log-level", "debug" }
  return server.start(options)
end

-- The answer to bytes on a connection; the pieces in writes of their own.
local function send(app, bytes, pieces, from)
  local address = { host = app.addresses[1].host, port = app.addresses[1].port,
    path = app.addresses[1].path }
  local source = assert(stream.connect(address, { from = from }))
  for at = 1, #bytes, pieces or #bytes do
    source:write(bytes:sub(at, at + (pieces or #bytes) - 1))
    source:flush()
  end
  local response, problem = http.read_response(source)
  source:close()
  return response, problem
end

local function who(app, header, ...)
  local response, problem = send(app, header .. WHO, ...)
  return response and response.body or problem
end

describe("a PROXY header", function()
  local app

  lazy_setup(function() app = start("", { environment = { TIDEWIRE_TLS_CERTIFICATE = "" } }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("of version 1 names the client", function()
    assert.equal("192.0.2.1 plain", who(app, v1("192.0.2.1")))
    assert.equal("2001:db8::1 plain", who(app, v1("2001:db8::1", "TCP6")))
    assert.equal("192.0.2.1 plain", who(app, v1("::ffff:192.0.2.1", "TCP6")))
  end)

  it("of version 2 names the client", function()
    assert.equal("192.0.2.1 plain", who(app, v2(0x11, IPV4)))
    assert.equal("2001:db8::1 plain", who(app, v2(0x21, IPV6)))
    assert.equal("unix plain", who(app, v2(0x31, "/run/x" .. ("\0"):rep(210))))
    assert.equal("192.0.2.1 plain", who(app, v2(0x11, IPV4 .. "\4\0\3abc\1\0\2h2")))
    assert.equal("192.0.2.1 secure", who(app, v2(0x11, IPV4 .. TLS_USED)))
    local longest = "\4" .. string.pack(">s2", ("x"):rep(4096 - 16 - 12 - 3))
    assert.equal("192.0.2.1 plain", who(app, v2(0x11, IPV4 .. longest)))
  end)

  it("without an address keeps the proxy's own", function()
    assert.equal("127.0.0.1 plain", who(app, "PROXY UNKNOWN\r\n"))
    assert.equal("127.0.0.1 plain", who(app, "PROXY UNKNOWN ::1 ::2 65535 1\r\n"))
    assert.equal("127.0.0.1 plain", who(app, v2(0x00, "", 0x20)))
    assert.equal("127.0.0.1 plain", who(app, v2(0x11, IPV4, 0x20)))
    assert.equal("127.0.0.1 plain", who(app, v2(0x00, "whatever it is")))
  end)

  it("may come in single bytes, or with the request", function()
    for _, header in ipairs({ v1("192.0.2.1"), v2(0x11, IPV4 .. TLS_USED) }) do
      assert.matches("^192.0.2.1 ", who(app, header, 1))
      assert.matches("^192.0.2.1 ", who(app, header, 7))
      assert.matches("^192.0.2.1 ", who(app, header, #header))
      assert.matches("^192.0.2.1 ", who(app, header))
    end
  end)

  it("comes before a WebSocket, and frames behind its handshake", function()
    local source = assert(stream.connect(app.addresses[1]))
    local request, key = client.handshake("/")
    source:write(v1("192.0.2.1") .. request)
    local ada = assert(client.attach(source, key))
    assert.equal("192.0.2.1 plain", (ada:ask("who")))
  end)

  it("makes its address the peer, whose headers count only if it is trusted too", function()
    local headers = "GET /who HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n"
      .. "X-Forwarded-Proto: https\r\n\r\n"
    assert.equal("192.0.2.1 plain", (send(app, v1("192.0.2.1") .. headers)).body)
    assert.equal("203.0.113.9 secure", (send(app, v1("10.1.2.3") .. headers)).body)
    assert.equal("203.0.113.9 secure", (send(app, "PROXY UNKNOWN\r\n" .. headers)).body)
  end)

  it("from another peer is refused, which else is a client as any", function()
    assert.equal("127.0.0.9 plain", who(app, "", nil, "127.0.0.9"))
    for _, header in ipairs({ v1("192.0.2.1"), v2(0x11, IPV4) }) do
      local response = assert(send(app, header .. WHO, nil, "127.0.0.9"))
      assert.equal(400, response.status)
      assert.is_truthy(response.body:find("trusted_proxies", 1, true), response.body)
    end
  end)

  local MALFORMED = {
    ["is missing"] = { "", "no PROXY header" },
    ["is missing before TLS"] = { "\22\3\1\2\0\1\0", "no PROXY header" },
    ["begins in lower case"] = { "proxy TCP4 192.0.2.1 198.51.100.7 1 2\r\n", "no PROXY header" },
    ["has another version of text"] = { "PROXY TCP5 192.0.2.1 198.51.100.7 1 2\r\n", "protocol" },
    ["has no address"] = { "PROXY TCP4 192.0.2 198.51.100.7 1 2\r\n", "malformed address" },
    ["has an address of the other family"] = { v1("2001:db8::1"), "malformed address" },
    ["has a port too large"] = { "PROXY TCP4 192.0.2.1 198.51.100.7 65536 2\r\n", "port" },
    ["has one port"] = { "PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n", "port" },
    ["has more words"] = { "PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n", "port" },
    ["ends with a line feed alone"] = { "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n", "CRLF" },
    ["ends with a carriage return alone"] = { "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\rG", "CRLF" },
    ["has no end"] = { "PROXY UNKNOWN " .. ("x"):rep(93), "too long" },
    ["has a wrong signature"] = { "\r\n\r\n\0\r\nQUIT\r" .. "\x21\x11\0\12" .. IPV4, "no PROXY" },
    ["has another version"] = { v2(0x11, IPV4, 0x11), "version or command" },
    ["has an unknown command"] = { v2(0x11, IPV4, 0x22), "version or command" },
    ["has an unknown family"] = { v2(0x41, IPV4), "protocol" },
    ["is about datagrams"] = { v2(0x12, IPV4), "protocol" },
    ["is shorter than its addresses"] = { v2(0x21, IPV4), "too short" },
    ["has half a TLV"] = { v2(0x11, IPV4 .. "\4\0"), "TLV" },
    ["has a TLV longer than itself"] = { v2(0x11, IPV4 .. "\4\0\9x"), "TLV" },
    ["is longer than the limit"] = { v2(0x11, IPV4):sub(1, 14) .. "\xff\xff" .. IPV4, "too long" },
  }

  for name, case in pairs(MALFORMED) do
    it("that " .. name .. " closes the connection", function()
      local before = #app:log_lines("event=refused .*why=\".*" .. case[2])
      for _, pieces in ipairs({ false, 1 }) do
        local response, problem = send(app, case[1] .. WHO, pieces or nil)
        assert.is_nil(response)
        assert.is_true(problem == "eof" or problem == "ECONNRESET" or problem == "EPIPE", problem)
      end
      assert.is_truthy(loop.wait_until(function()
        return #app:log_lines("event=refused .*why=\".*" .. case[2]) >= before + 2
      end), app:log():sub(-500))
    end)
  end

  it("that ends early closes the connection", function()
    local source = assert(stream.connect(app.addresses[1]))
    source:write("PROXY TCP4 192.0.2.1")
    source:half_close()
    assert.is_truthy(source:wait_end())
    assert.is_truthy(app:wait_for_log("PROXY header is incomplete"))
    local silent = assert(stream.connect(app.addresses[1])) -- a health check of TCP
    silent:half_close()
    assert.equal("eof", silent:wait_end())
  end)
end)

describe("a connection without its PROXY header", function()
  after_each(stream.close_all)

  it("is closed after handshake_seconds, and counted", function()
    local app <close> = start("limits = { handshake_seconds = 0.3 },",
      {
        options = { "--admin", "127.0.0.1:0", "--log-level", "debug" },
        environment = { TIDEWIRE_TLS_CERTIFICATE = "" },
      })
    local silent = assert(stream.connect(app.addresses[1]))
    local slow = assert(stream.connect({ host = "127.0.0.1", port = app.addresses[1].port }))
    slow:write("PROXY TCP4 192.")
    assert.is_truthy(silent:wait_end())
    assert.is_truthy(slow:wait_end())
    assert.is_truthy(loop.wait_until(function()
      return #app:log_lines("PROXY header did not arrive in time") == 2
    end))
    local metrics = http.request(app.admin, "/metrics").body
    assert.is_truthy(metrics:find("\ntidewire_connections_refused_total 2\n", 1, true))
    assert.is_truthy(metrics:find(
      '\ntidewire_refused_total{reason="proxy_protocol",status="0",endpoint=""} 2\n', 1, true),
      metrics:match("\ntidewire_refused_total%b{} %d+"))
    assert.equal(400, (send(app, v1("192.0.2.1") .. WHO, nil, "127.0.0.9")).status)
    metrics = http.request(app.admin, "/metrics").body
    assert.is_truthy(metrics:find(
      '\ntidewire_refused_total{reason="proxy_protocol",status="400",endpoint=""} 1\n', 1, true))
  end)
end)

describe("a client behind a PROXY header", function()
  after_each(stream.close_all)

  it("has the limit of its address", function()
    local app <close> = start("limits = { per_address = 2 },",
      { environment = { TIDEWIRE_TLS_CERTIFICATE = "" } })
    local function connect(address)
      local source = assert(stream.connect(app.addresses[1]))
      source:write(v1(address))
      return source
    end
    local one, two = connect("192.0.2.1"), connect("192.0.2.1")
    one:write(WHO:sub(1, 20)) -- its request is not complete: the header counts it
    two:write(WHO:sub(1, 20))
    assert.is_truthy(loop.wait_until(function()
      local third = connect("192.0.2.1")
      third:write(WHO)
      return http.read_response(third).status == 429
    end))
    local other = connect("192.0.2.2")
    other:write(WHO)
    assert.equal(200, http.read_response(other).status)
    one:write(WHO:sub(21))
    assert.equal("192.0.2.1 plain", http.read_response(one).body)
  end)

  it("comes over a Unix socket too", function()
    local app <close> = start("", { listen = { "unix:app.sock" } })
    app.addresses[1].path = app.directory .. "/app.sock"
    assert.equal("192.0.2.1 plain", who(app, v2(0x11, IPV4)))
    assert.is_nil((send(app, WHO)))
  end)
end)

describe("with TLS a PROXY header", function()
  local app, address

  lazy_setup(function()
    local certificate, key = certificates.shared()
    app = start("", {
      environment = { TIDEWIRE_TLS_CERTIFICATE = certificate, TIDEWIRE_TLS_KEY = key },
    })
    address = app.addresses[1]
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function get(header)
    local source = assert(stream.connect(address, { before = header }))
    source:write(WHO)
    local response = assert(http.read_response(source))
    source:close()
    return response.body
  end

  it("comes before the handshake", function()
    assert.equal("192.0.2.1 secure", get(v1("192.0.2.1")))
    assert.equal("192.0.2.1 secure", get(v2(0x11, IPV4)))
    assert.equal("127.0.0.1 secure", get("PROXY UNKNOWN\r\n"))
  end)

  it("comes before a WebSocket", function()
    local ada = assert(client.connect(app:url("/"), { before = v1("192.0.2.1") }))
    assert.equal("192.0.2.1 secure", (ada:ask("who")))
    ada:close(1000)
  end)

  it("may come with the first bytes of the handshake", function()
    -- a proxy that passes on what our client writes, behind the header and in the same write
    local uv = require "luv"
    local listener, inner, outer = uv.new_tcp(), uv.new_tcp(), nil
    assert(listener:bind("127.0.0.1", 0))
    local first = true
    listener:listen(8, function()
      outer = uv.new_tcp()
      listener:accept(outer)
      inner:connect(address.host, address.port, function()
        outer:read_start(function(_, bytes)
          if bytes then
            inner:write((first and v1("192.0.2.1") or "") .. bytes)
            first = false
          end
        end)
        inner:read_start(function(_, bytes)
          if bytes then outer:write(bytes) end
        end)
      end)
    end)
    local source = assert(stream.connect({
      host = "127.0.0.1", port = listener:getsockname().port, tls = true,
    }))
    source:write(WHO)
    assert.equal("192.0.2.1 secure", assert(http.read_response(source)).body)
    source:close()
    for _, handle in ipairs({ listener, inner, outer }) do handle:close() end
  end)

  it("that is missing closes the connection", function()
    assert.is_nil((stream.connect(address)))
    assert.is_truthy(app:wait_for_log("a trusted proxy has sent no PROXY header"))
  end)

  it("before plain HTTP does not make it TLS", function()
    local response = assert(send(app, v1("192.0.2.1") .. WHO))
    assert.equal(400, response.status)
    assert.is_truthy(response.body:find("needs TLS", 1, true))
  end)
end)

describe("proxy_protocol", function()
  it("needs trusted_proxies", function()
    local code, log = server.launch_to_end({
      app = "return { endpoints = { ['/'] = {} }, proxy_protocol = true }",
    })
    assert.equal(2, code)
    assert.is_truthy(log:find("proxy_protocol needs trusted_proxies", 1, true), log)
    code, log = server.launch_to_end({
      app = "return {}", options = { "--proxy-protocol" },
    })
    assert.equal(2, code)
    assert.is_truthy(log:find("proxy_protocol needs trusted_proxies", 1, true), log)
  end)

  it("may be switched on by the command line or the environment, for a handler alone", function()
    local handler =
      "return { handle_message = function(conn) conn:send(conn.remote_address) end }"
    for _, options in ipairs({
      { options = { "--proxy-protocol", "--trusted-proxies", "127.0.0.1" } },
      {
        environment = { TIDEWIRE_PROXY_PROTOCOL = "yes", TIDEWIRE_TRUSTED_PROXIES = "127.0.0.1" },
      },
    }) do
      options.app = handler
      options.environment = options.environment or {}
      options.environment.TIDEWIRE_TLS_CERTIFICATE = ""
      local app <close> = server.start(options)
      local source = assert(stream.connect(app.addresses[1]))
      local request, key = client.handshake("/")
      source:write(v1("192.0.2.1") .. request)
      local ada = assert(client.attach(source, key))
      assert.equal("192.0.2.1", (ada:ask("who")))
      ada:close(1000)
    end
  end)
end)
