-- trusted_proxies_spec.lua -- the client behind a proxy: X-Forwarded-For and Forwarded count from
-- trusted peers only, and then remote_address, limits and the log speak of the client.

local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local function describe(request)
  return table.concat({
    request.remote_address, request.secure and "secure" or "plain", request.host or "none",
  }, " ")
end
return {
  OPTIONS
  endpoints = {
    ["/"] = {
      handle_message = function(conn)
        conn:send(("%s %s"):format(describe(conn.request), conn.remote_address))
      end,
    },
  },
  http = {
    ["/who"] = function(request) return describe(request) end,
    ["POST /slow"] = function(request) require("tidewire").sleep(60) return "" end,
  },
}
]]

local function start(lines, options)
  options = options or {}
  options.app = APP:gsub("OPTIONS", function() return lines end)
  return server.start(options)
end

-- Is this server's own scheme, where no proxy says anything.
local function own(app) return app.addresses[1].tls and "secure" or "plain" end

local function who(app, headers, from)
  local lines = { "GET /who HTTP/1.1", "Host: own.example" }
  for _, line in ipairs(headers) do lines[#lines + 1] = line end
  local source = assert(stream.connect(app.addresses[1], { from = from }))
  source:write(table.concat(lines, "\r\n") .. "\r\n\r\n")
  local response = assert(http.read_response(source))
  source:close()
  assert.equal(200, response.status, response.body)
  return response.body
end

describe("a peer that is not trusted", function()
  for name, lines in pairs({
    ["without the option"] = "",
    ["beside one that is"] = 'trusted_proxies = { "10.0.0.0/8", "::1", "127.0.0.2" },',
  }) do
    it("cannot name another client, " .. name, function()
      local app <close> = start(lines)
      local mine = ("127.0.0.1 %s own.example"):format(own(app))
      for _, header in ipairs({
        "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1;proto=https;host=a.example",
        "X-Forwarded-For: 127.0.0.2", "X-Forwarded-Proto: https", "X-Forwarded-Proto: http",
        "X-Forwarded-Host: a.example", "X-Real-IP: 192.0.2.1",
      }) do
        assert.equal(mine, who(app, { header }), header)
      end
      local none, status = client.connect(app:url("/"),
        { headers = { ["X-Forwarded-For"] = "192.0.2.1", Host = "own.example" } })
      assert.is_truthy(none, status)
      assert.equal(mine .. " 127.0.0.1", (none:ask("who")))
    end)
  end
end)

describe("a trusted proxy", function()
  local app

  lazy_setup(function()
    app = start([[
      trusted_proxies = { "127.0.0.0/30", "10.0.0.0/8", "fd00::/8", "::ffff:172.16.0.0/108" },
    ]], { options = { "--log-level", "debug" } })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function address(...)
    return (who(app, { ... }):match("^%S+"))
  end

  it("names the client of a request", function()
    assert.equal("192.0.2.1", address("X-Forwarded-For: 192.0.2.1"))
    assert.equal("2001:db8::1", address("x-forwarded-for: 2001:DB8:0::1"))
    assert.equal("192.0.2.1", address('Forwarded: for="192.0.2.1:4711";by=10.0.0.1'))
    assert.equal("2001:db8::1", address('Forwarded: For="[2001:db8::1]:443"'))
    assert.equal("127.0.0.1", address("Accept: x"))
  end)

  it("names the one before the other proxies, whatever stands before that", function()
    assert.equal("192.0.2.1", address("X-Forwarded-For: 203.0.113.66, 192.0.2.1"))
    assert.equal("192.0.2.1", address("X-Forwarded-For: 203.0.113.66, 192.0.2.1, 10.1.2.3"))
    assert.equal("192.0.2.1",
      address("X-Forwarded-For: x, 192.0.2.1", "X-Forwarded-For: 172.20.0.1, fd12::1"))
    assert.equal("172.32.0.1", address("X-Forwarded-For: 192.0.2.1, 172.32.0.1"))
    assert.equal("10.9.9.9", address("X-Forwarded-For: 10.9.9.9, 10.1.2.3"))
    assert.equal("192.0.2.1", address("Forwarded: for=203.0.113.66, for=192.0.2.1, for=10.0.0.1"))
    assert.equal("192.0.2.1", address('Forwarded: for=", for=192.0.2.1'))
  end)

  it("ends at the last good address before garbage", function()
    assert.equal("127.0.0.1", address("X-Forwarded-For: unknown"))
    assert.equal("127.0.0.1", address("X-Forwarded-For: 192.0.2.1, _hidden"))
    assert.equal("10.0.0.1", address("X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.1"))
    assert.equal("127.0.0.1", address("Forwarded: for=_hidden"))
  end)

  it("never makes another client of random bytes before its own", function()
    local seed = tonumber(os.getenv("TIDEWIRE_TEST_SEED")) or os.time()
    math.randomseed(seed)
    local alphabet = '0123456789.:,;="\\[]_ forunknown\t-'
    for _ = 1, 100 do
      local bytes = {}
      for i = 1, math.random(0, 60) do
        local at = math.random(#alphabet)
        bytes[i] = alphabet:sub(at, at)
      end
      local claim = table.concat(bytes)
      local hint = ("seed %d, %q"):format(seed, claim)
      assert.equal("192.0.2.1", address(("X-Forwarded-For: %s, 192.0.2.1"):format(claim)), hint)
      assert.equal("192.0.2.1", address(("Forwarded: %s, for=192.0.2.1"):format(claim)), hint)
    end
  end)

  it("says whether the client uses TLS, and which host it asks for", function()
    local function rest(...) return (who(app, { ... }):match(" (.*)$")) end
    assert.equal("secure own.example", rest("X-Forwarded-Proto: https"))
    assert.equal("plain own.example", rest("X-Forwarded-Proto: http"))
    assert.equal(own(app) .. " a.example:8443", rest("X-Forwarded-Host: a.example:8443"))
    assert.equal("secure a.example",
      rest("Forwarded: for=192.0.2.1;proto=https;host=a.example"))
    assert.equal("plain own.example",
      rest("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https, http"))
    assert.equal(own(app) .. " own.example", rest("Accept: x"))
  end)

  it("prefers X-Forwarded-For", function()
    assert.equal("192.0.2.8", address("Forwarded: for=192.0.2.7", "X-Forwarded-For: 192.0.2.8"))
  end)

  it("names the client of a WebSocket, as long as it lives", function()
    local ada = app:connect("/", {
      headers = { ["X-Forwarded-For"] = "192.0.2.77", ["X-Forwarded-Proto"] = "https" },
    })
    assert.equal("192.0.2.77 secure localhost 192.0.2.77", (ada:ask("who")))
    assert.equal("192.0.2.77 secure localhost 192.0.2.77", (ada:ask("who")))
  end)

  it("is the client itself where the address of the connection is another one", function()
    local answer = who(app, { "X-Forwarded-For: 192.0.2.1" }, "127.0.0.9")
    assert.equal("127.0.0.9", (answer:match("%S+")))
  end)

  it("has its client's address in the log", function()
    assert.equal(404, app:http({
      path = "/nothing", headers = { ["X-Forwarded-For"] = "192.0.2.123" },
    }).status)
    assert.is_truthy(app:wait_for_log("event=refused remote=192.0.2.123 .*path=/nothing"))
  end)
end)

describe("the limit of connections of one address", function()
  after_each(stream.close_all)

  local LINES = [[trusted_proxies = { "127.0.0.1" }, limits = { per_address = 2 },]]

  local function connect(app, address)
    return client.connect(app:url("/"), { headers = { ["X-Forwarded-For"] = address } })
  end

  it("counts clients, not their proxy", function()
    local app <close> = start(LINES)
    for number = 1, 5 do assert(connect(app, "192.0.2." .. number)) end
    local ada = assert(connect(app, "192.0.2.1"))
    local none, status, _, body = connect(app, "192.0.2.1")
    assert.is_nil(none)
    assert.equal(429, status)
    assert.is_truthy(body:find("Too many connections from this address", 1, true))
    assert.equal(429, app:http({
      path = "/who", headers = { ["X-Forwarded-For"] = "203.0.113.1, 192.0.2.1" },
    }).status)
    assert(connect(app, "192.0.2.9"))
    ada:close(1000)
    assert.is_truthy(loop.wait_until(function()
      local peer = connect(app, "192.0.2.1")
      return peer
    end))
  end)

  it("counts the proxy as a client where it names none", function()
    local app <close> = start(LINES)
    assert(connect(app, false))
    assert(connect(app, "unknown"))
    local _, status = connect(app, false)
    assert.equal(429, status)
    assert(connect(app, "192.0.2.1"))
  end)

  it("counts no socket of a proxy whose request has not come", function()
    local app <close> = start(LINES)
    for _ = 1, 10 do assert(stream.connect(app.addresses[1])) end
    local ada = assert(connect(app, "192.0.2.1"))
    assert.matches("^192.0.2.1 ", (ada:ask("who")))
  end)

  it("counts the sockets of others as before", function()
    local app <close> = start(LINES)
    local function connect_directly(address)
      return client.connect(app:url("/"),
        { from = "127.0.0.3", headers = { ["X-Forwarded-For"] = address } })
    end
    assert(connect_directly("192.0.2.1"))
    assert(connect_directly("192.0.2.2"))
    local _, status = connect_directly("192.0.2.3")
    assert.equal(429, status)
  end)
end)

describe("a connection that a trusted proxy keeps", function()
  after_each(stream.close_all)

  local function request(address, ending)
    return ("GET /who HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\n%s\r\n")
      :format(address, ending or "")
  end

  it("has the client of each request", function()
    local app <close> = start('trusted_proxies = { "127.0.0.1" },')
    local source = assert(stream.connect(app.addresses[1]))
    for _, address in ipairs({ "192.0.2.1", "192.0.2.2", "unknown", "2001:db8::1" }) do
      source:write(request(address))
      local expected = address == "unknown" and "127.0.0.1" or address
      assert.equal(expected, (http.read_response(source).body:match("^%S+")))
    end
    -- in one write
    source:write(request("192.0.2.3") .. request("192.0.2.4") .. request("192.0.2.5"))
    for number = 3, 5 do
      assert.equal("192.0.2." .. number, (http.read_response(source).body:match("^%S+")))
    end
  end)

  it("counts in no address between requests", function()
    local app <close> =
      start('trusted_proxies = { "127.0.0.1" }, limits = { per_address = 1 },')
    local sources, ada = {}, nil
    for number = 1, 4 do -- the proxy's pool: all have served the same client
      assert.is_true(loop.wait_until(function() -- the worker of the one before may be slow
        sources[number] = assert(stream.connect(app.addresses[1]))
        sources[number]:write(request("192.0.2.1"))
        return http.read_response(sources[number]).status == 200
      end))
    end
    assert.is_true(loop.wait_until(function()
      ada = client.connect(app:url("/"), { headers = { ["X-Forwarded-For"] = "192.0.2.1" } })
      return ada ~= nil
    end))
    sources[1]:write(request("192.0.2.1"))
    assert.equal(429, http.read_response(sources[1]).status)
    sources[2]:write(request("192.0.2.2"))
    assert.equal(200, http.read_response(sources[2]).status)
    ada:close(1000)
  end)
end)

describe("trusted_proxies", function()
  after_each(stream.close_all)

  it("has the peers of Unix sockets as \"unix\"", function()
    for _, trusted in ipairs({ "unix", "unix:" }) do
      local app <close> = start(('trusted_proxies = "%s",'):format(trusted),
        { listen = { "unix:app.sock" } })
      app.addresses[1].path = app.directory .. "/app.sock"
      assert.equal("192.0.2.1 plain own.example", who(app, { "X-Forwarded-For: 192.0.2.1" }))
      assert.equal("unix plain own.example", who(app, {}))
    end
    local app <close> = start('trusted_proxies = "127.0.0.1",', { listen = { "unix:app.sock" } })
    app.addresses[1].path = app.directory .. "/app.sock"
    assert.equal("unix plain own.example", who(app, { "X-Forwarded-For: 192.0.2.1" }))
  end)

  it("may come from the command line and the environment", function()
    local lines = 'trusted_proxies = { "10.0.0.0/8" },'
    local header = { "X-Forwarded-For: 192.0.2.1, 127.0.0.5" }
    do
      local app <close> = start(lines,
        { options = { "--trusted-proxies", "127.0.0.1, 127.0.0.5" } })
      assert.matches("^192.0.2.1 ", who(app, header))
    end
    local app <close> = start(lines,
      { environment = { TIDEWIRE_TRUSTED_PROXIES = "::1,127.0.0.1" } })
    assert.matches("^127.0.0.5 ", who(app, header))
  end)

  it("is changed by a reload, with forwarded_header", function()
    local app <close> = start('trusted_proxies = { "10.0.0.0/8" },')
    local headers = { "Forwarded: for=192.0.2.7", "X-Forwarded-For: 192.0.2.8" }
    local function reload(lines)
      process.write_file(app.directory .. "/app.lua",
        (APP:gsub("OPTIONS", function() return lines end)))
      local before = #app:log_lines("event=reloaded")
      app:signal("sighup")
      assert.is_truthy(loop.wait_until(function()
        return #app:log_lines("event=reloaded") > before
      end))
    end
    assert.matches("^127.0.0.1 ", who(app, headers))
    reload('trusted_proxies = { "127.0.0.0/8" },')
    assert.matches("^192.0.2.8 ", who(app, headers))
    reload('trusted_proxies = { "127.0.0.1" }, forwarded_header = "Forwarded",')
    assert.matches("^192.0.2.7 ", who(app, headers))
    assert.matches("^127.0.0.1 ", who(app, { headers[2] }))
    reload("")
    assert.matches("^127.0.0.1 ", who(app, headers))
  end)

  it("that is wrong ends the start with what is right", function()
    local code, log = server.launch_to_end({
      app = APP:gsub("OPTIONS", [[
        trusted_proxies = { "10.0.0.0/33", "localhost", "unix:/run/x.sock", 7 },
        forwarded_header = "X-Real-IP",
      ]]),
    })
    assert.equal(2, code)
    for _, part in ipairs({
      'trusted_proxies: "10.0.0.0/33": the number behind the slash is from 0 to 32',
      'trusted_proxies: "localhost": this is no IP address', 'write "unix"',
      'expected an address, a network or "unix"', "got 7", 'forwarded_header: expected "X-Forw',
    }) do
      assert.is_truthy(log:find(part, 1, true), part .. " is not in " .. log)
    end
    code, log = server.launch_to_end({ app = APP:gsub("OPTIONS", ""),
      options = { "--trusted-proxies", "10.0.0" } })
    assert.equal(2, code)
    assert.is_truthy(log:find('--trusted-proxies: "10.0.0": this is no IP address', 1, true), log)
  end)
end)
