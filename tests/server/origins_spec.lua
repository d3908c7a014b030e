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
    ["/any"]     = { handle_message = echo },
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

  local function assert_allowed(path, origin)
    local ada, status = client.connect(app:url(path), { origin = origin })
    assert.is_truthy(ada, ("%s refused %s with %s"):format(path, origin, status))
    assert.equal("hi", (ada:ask("hi")))
    ada:drop()
  end

  local function assert_refused(path, origin)
    local none, status, _, body = client.connect(app:url(path), { origin = origin })
    assert.is_nil(none, ("%s let in %s"):format(path, origin))
    assert.equal(403, status)
    assert.is_true(#body > 0)
  end

  it("are not looked at where a handler names none", function()
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
end)
