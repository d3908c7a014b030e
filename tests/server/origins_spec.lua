-- origins_spec.lua -- which web pages may connect: the Origin header against a handler's list,
-- patterns or function.

local client = require "support.client"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local record = require "record"
local function echo(conn, message) conn:send(message) end
return {
  endpoints = {
    ["/any"]     = { handle_message = echo, origins = "*" },
    ["/own"]     = { handle_message = echo },
    ["/own/needed"] = { handle_message = echo, require_origin = true },
    ["/exact"]   = {
      handle_message = echo,
      origins = { "https://example.com", "http://localhost:3000", "https://example.org:8443" },
    },
    ["/pattern"] = {
      handle_message = echo, origins = { "https://*.example.com", "http://*.test:8080" },
    },
    ["/null"]    = { handle_message = echo, origins = { "https://example.com", "null" } },
    ["/none"]    = { handle_message = echo, origins = {} },
    ["/needed"]  = {
      handle_message = echo, origins = { "https://example.com" }, require_origin = true,
    },
    ["/asked"]   = {
      handle_message = echo,
      origins = function(origin, request)
        record("asked", origin)
        return origin:find("good", 1, true) ~= nil
      end,
    },
    ["/broken"]  = { handle_message = echo, origins = function() error("no idea") end },
    ["/first"]   = {
      handle_message = echo, origins = { "https://example.com" },
      validate = function() record("validated") return true end,
    },
  },
}
]]

describe("origins", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function assert_allowed(path, origin, host)
    local ada, status =
      client.connect(app:url(path), { origin = origin, headers = { Host = host } })
    assert.is_truthy(ada, ("%s refused %s with %s"):format(path, origin, status))
    assert.equal("hi", (ada:ask("hi")))
    ada:drop()
  end

  local function assert_refused(path, origin, host)
    local none, status, _, body =
      client.connect(app:url(path), { origin = origin, headers = { Host = host } })
    assert.is_nil(none, ("%s let in %s"):format(path, origin))
    assert.equal(403, status)
    assert.is_true(#body > 0)
    return body
  end

  it("are not looked at with a star", function()
    for _, origin in ipairs({ "https://evil.example", "null", "nonsense" }) do
      assert_allowed("/any", origin)
    end
    assert_allowed("/any")
  end)

  it("are compared whole: scheme, host and port", function()
    assert_allowed("/exact", "https://example.com")
    assert_allowed("/exact", "http://localhost:3000")
    for _, origin in ipairs({
      "http://example.com", "https://example.com:8443", "https://example.com.evil.org",
      "https://evilexample.com", "https://www.example.com", "http://localhost",
      "http://localhost:30001", "https://example.org", "https://example.com@evil.org",
      "https://evil.org/https://example.com", "example.com", "https://", "*",
      "https://example.com evil", "https://example.com, https://evil.org",
    }) do
      assert_refused("/exact", origin)
    end
  end)

  it("are compared without regard to case, and with the scheme's default port", function()
    for _, origin in ipairs({
      "HTTPS://EXAMPLE.COM", "https://Example.com", "https://example.com:443",
    }) do
      assert_allowed("/exact", origin)
    end
    assert_refused("/exact", "https://example.com:80")
  end)

  it("may be patterns, in which * is one level of the host's name", function()
    assert_allowed("/pattern", "https://app.example.com")
    assert_allowed("/pattern", "https://App.Example.Com:443")
    assert_allowed("/pattern", "http://a.test:8080")
    for _, origin in ipairs({
      "https://example.com", "https://a.b.example.com", "http://app.example.com",
      "https://.example.com", "https://appexample.com", "https://app.example.com.evil.org",
      "https://app.example.com:8443", "https://evil.org/.example.com",
      "https://evil.org#.example.com", "https://evil.org:1.example.com", "http://a.test",
      "https://app-example.com", "https://x@y.example.com",
    }) do
      assert_refused("/pattern", origin)
    end
  end)

  it("of null are refused unless listed", function()
    assert_refused("/exact", "null")
    assert_refused("/pattern", "null")
    assert_allowed("/null", "null")
    assert_allowed("/null", "https://example.com")
    assert_refused("/null", "https://example.org")
  end)

  it("in an empty list are none", function()
    assert_refused("/none", "https://example.com")
  end)

  it("may be judged by a function", function()
    assert_allowed("/asked", "https://good.example")
    assert.equal("https://good.example", app:wait_event("asked")[2])
    assert_refused("/asked", "https://bad.example")
    assert.equal("https://bad.example", app:wait_event("asked", 2)[2])
  end)

  it("in a function that throws accept no connection", function()
    local none, status = client.connect(app:url("/broken"), { origin = "https://example.com" })
    assert.is_nil(none)
    assert.is_true(status == 500 or status == 403, "answered with " .. tostring(status))
    assert.is_truthy(app:wait_for_log("no idea"))
  end)

  it("that are missing pass, because no browser sent them, unless require_origin", function()
    assert_allowed("/exact")
    assert_allowed("/pattern")
    assert_refused("/needed")
    assert_allowed("/needed", "https://example.com")
  end)

  it("given twice are refused", function()
    local request = client.handshake("/exact"):gsub("\r\n\r\n$",
      "\r\nOrigin: https://example.com\r\nOrigin: https://evil.org\r\n\r\n")
    local response = assert(app:raw(request))
    assert.is_true(response.status == 400 or response.status == 403)
  end)

  it("are judged before validate is asked", function()
    assert_refused("/first", "https://evil.org")
    assert.equal(0, #app:events("validated"))
    assert_allowed("/first", "https://example.com")
    assert.equal(1, #app:events("validated"))
  end)

  it("must be the request's own host where a handler names none", function()
    assert_allowed("/own", "http://localhost")
    assert_allowed("/own", "https://localhost:3000")
    assert_allowed("/own", "https://Chat.Example.com", "chat.example.com:8443")
    assert_allowed("/own", "http://[::1]:5173", "[::1]:8080")
    assert_allowed("/own")
    assert_allowed("/own/needed", "http://localhost")
    for _, origin in ipairs({
      "https://evil.example", "null", "nonsense", "http://localhost.evil.example",
      "http://127.0.0.1", "https://localhost@evil.example",
    }) do
      assert_refused("/own", origin)
    end
    assert_refused("/own/needed")
    -- of no proxy that the app trusts
    local none, status = client.connect(app:url("/own"), {
      origin = "https://evil.example", headers = { ["X-Forwarded-Host"] = "evil.example" },
    })
    assert.is_nil(none)
    assert.equal(403, status)
  end)

  it("that are refused by default get a body that says what to write, as the log does", function()
    local fresh <close> = server.start({ app = APP })
    for number = 1, 3 do
      local _, status, _, body = client.connect(fresh:url("/own"),
        { origin = ("https://Evil%d.example:443"):format(number) })
      assert.equal(403, status)
      assert.is_truthy(body:find(
        ([[origins = { \"https://evil%d.example\" }]]):format(number), 1, true), body)
    end
    assert.is_truthy(fresh:wait_for_log("event=origins"))
    local _, status = client.connect(fresh:url("/own/needed"), { origin = "null" })
    assert.equal(403, status)
    local lines = fresh:log_lines("warn .*event=origins")
    assert.equal(2, #lines)
    assert.is_truthy(lines[1]:find([[origins = { \"https://evil1.example\" }]], 1, true), lines[1])
    assert.is_truthy(lines[1]:find("/own", 1, true))
    assert.is_truthy(lines[2]:find([[origins = { \"null\" }]], 1, true), lines[2])
  end)
end)

describe("behind a trusted proxy the host of an Origin", function()
  it("is compared with the host that the proxy names", function()
    local app <close> = server.start({
      app = APP:gsub("return {", 'return { trusted_proxies = "127.0.0.1",', 1),
    })
    local function status_of(headers)
      headers.Host = "127.0.0.1:8080"
      local ada, status =
        client.connect(app:url("/own"), { origin = "https://chat.example.com", headers = headers })
      if ada then ada:close(1000) end
      return status or 101
    end
    assert.equal(101, status_of({ ["X-Forwarded-Host"] = "chat.example.com" }))
    assert.equal(101, status_of({ ["X-Forwarded-Host"] = "Chat.Example.com:443" }))
    assert.equal(101, status_of({ Forwarded = 'for=192.0.2.1;host="chat.example.com:443"' }))
    assert.equal(403, status_of({}))
    assert.equal(403, status_of({ ["X-Forwarded-Host"] = "evil.example" }))
  end)
end)

describe("a plain request of a page of another host", function()
  local ROUTES = [[
    local function answer(request) return request.method end
    return {
      DEFAULTS
      http = { ["/"] = answer, ["GET /read"] = answer, ["POST /write"] = answer },
    }
  ]]

  local app
  after_each(function() app:stop() end)

  local function start(defaults)
    app = server.start({ app = (ROUTES:gsub("DEFAULTS", defaults)) })
  end

  local function status_of(method, origin, headers)
    headers = headers or {}
    headers.Origin = origin
    return app:http({ method = method, path = "/", headers = headers }).status
  end

  it("is refused where it may change something", function()
    start("")
    for _, method in ipairs({ "POST", "PUT", "PATCH", "DELETE" }) do
      assert.equal(403, status_of(method, "https://evil.example"))
      assert.equal(403, status_of(method, "null"))
      assert.equal(200, status_of(method, "https://localhost:8443"))
      assert.equal(200, status_of(method, nil))
    end
    for _, method in ipairs({ "GET", "HEAD", "OPTIONS" }) do
      assert.equal(200, status_of(method, "https://evil.example"))
    end
    assert.equal(200, status_of("POST", "null", { ["Sec-Fetch-Site"] = "same-origin" }))
    assert.equal(403, status_of("POST", "null", { ["Sec-Fetch-Site"] = "cross-site" }))
    assert.equal(403,
      status_of("POST", "https://evil.example", { ["Sec-Fetch-Site"] = "same-origin" }))
    local response = app:http({
      method = "POST", path = "/write", headers = { Origin = "https://evil.example" },
    })
    assert.is_truthy(response.body:find("https://evil.example", 1, true))
    assert.equal(1, #app:log_lines("event=origins.*defaults"))
  end)

  it("follows `origins` of defaults", function()
    start('defaults = { origins = { "https://good.example" }, require_origin = true },')
    assert.equal(200, status_of("POST", "https://good.example"))
    assert.equal(403, status_of("POST", "http://localhost"))
    assert.equal(200, status_of("POST", nil)) -- no browser
    app:stop()
    start('defaults = { origins = "*" },')
    assert.equal(200, status_of("POST", "https://evil.example"))
    app:stop()
    start([[defaults = { origins = function(origin)
      if origin == "https://out.example" then return false, 4403, "go away" end
      return origin ~= "https://bad.example"
    end },]])
    assert.equal(200, status_of("POST", "https://good.example"))
    assert.equal(403, status_of("POST", "https://bad.example"))
    assert.equal(403, status_of("POST", "https://out.example"))
  end)
end)
