-- origins_spec.lua -- which Origin headers pass which `origins` option.

local origins = require "tidewire.load.origins"

local function check(option, require_origin)
  local allow, problems = origins.compile(option, require_origin)
  return assert(allow, problems and table.concat(problems, "\n"))
end

local function problem(option)
  local allow, problems = origins.compile(option)
  assert.is_nil(allow)
  return table.concat(problems, "\n")
end

local function assert_verdicts(option, verdicts)
  local allow = check(option)
  for origin, verdict in pairs(verdicts) do
    assert.equal(verdict, (allow(origin)), origin)
  end
end

describe("a list of Origins", function()
  it("allows exactly those", function()
    assert_verdicts({ "https://example.com", "http://localhost:3000" }, {
      ["https://example.com"] = true,
      ["http://localhost:3000"] = true,
      ["http://example.com"] = false,
      ["https://example.com:8443"] = false,
      ["https://www.example.com"] = false,
      ["https://example.com.evil.test"] = false,
      ["https://evilexample.com"] = false,
      ["http://localhost"] = false,
      ["http://localhost:30001"] = false,
    })
  end)

  it("compares without letters' case and the scheme's own port", function()
    assert_verdicts({ "HTTPS://Example.COM", "http://plain.test:80", "http://seven.test:0443" }, {
      ["https://example.com:443"] = true,
      ["https://EXAMPLE.com"] = true,
      ["https://example.com:80"] = false,
      ["http://plain.test"] = true,
      ["http://plain.test:443"] = false,
      ["http://seven.test:443"] = true,
    })
  end)

  it("takes a star for one host level", function()
    assert_verdicts({ "https://*.example.com", "http://*.dev.test:8080" }, {
      ["https://a.example.com"] = true,
      ["https://A.EXAMPLE.COM:443"] = true,
      ["https://a.b.example.com"] = false,
      ["https://example.com"] = false,
      ["https://.example.com"] = false,
      ["https://aexample.com"] = false,
      ["http://a.example.com"] = false,
      ["https://a.example.com:8443"] = false,
      ["https://a.example.com.evil.test"] = false,
      ["http://x.dev.test:8080"] = true,
      ["http://x.dev.test"] = false,
    })
  end)

  it("knows IPv4 and IPv6 hosts", function()
    assert_verdicts({ "http://127.0.0.1:8080", "http://[::1]:80" }, {
      ["http://127.0.0.1:8080"] = true,
      ["http://[::1]"] = true,
      ["http://[::2]"] = false,
    })
  end)

  it("refuses null unless it is listed", function()
    assert_verdicts({ "https://example.com" }, { null = false })
    assert_verdicts({ "https://*.example.com" }, { null = false })
    assert_verdicts({ "https://example.com", "null" },
      { null = true, ["https://example.com"] = true })
  end)

  it("refuses an invalid Origin with the reason", function()
    local allow = check { "https://example.com", "https://*.example.com", "null" }
    for _, origin in ipairs { "", "example.com", "https://", "https://example.com/",
      "https://example.com/x", "https://user@example.com", "https://example.com:",
      "https://example.com:99999", "https://example.com:x", "https://example.com https://evil.test",
      "https://exa mple.com", "https://*.example.com", "NULL", "*",
      "https://example.com?", "https://a..example.com", "https://a.example.com\0" } do
      local ok, reason = allow(origin)
      assert.is_false(ok, origin)
      assert.equal("the Origin header is malformed", reason)
    end
    assert.same({ false, "this Origin is not allowed" }, { allow "https://evil.test" })
  end)

  it("may be one text", function()
    assert_verdicts("https://example.com",
      { ["https://example.com"] = true, ["https://evil.test"] = false })
  end)

  it("may be empty: then no web page connects", function()
    assert_verdicts({}, { ["https://example.com"] = false, null = false })
    assert.is_true((check {} (nil)))
  end)
end)

describe("without the option", function()
  local allow = check(nil)

  local function assert_verdict(expected, origin, host)
    assert.equal(expected, (allow(origin, { host = host })), origin .. " at " .. tostring(host))
  end

  it("the page's host must be the request's, on any port and by any scheme", function()
    for host, list in pairs {
      ["example.com"] = { "https://example.com", "http://example.com:3000", "HTTPS://EXAMPLE.COM" },
      ["Example.COM:8443"] = { "https://example.com", "https://example.com:1" },
      ["example.com."] = { "https://example.com" },
      ["example.com.:80"] = { "https://example.com." },
      ["127.0.0.1:8080"] = { "http://127.0.0.1", "http://127.0.0.1:5173" },
      ["[::1]:8080"] = { "http://[::1]", "http://[::1]:3000" },
      ["[2001:DB8::1]"] = { "https://[2001:db8::1]:443" },
      localhost = { "http://localhost:8080" },
    } do
      for _, origin in ipairs(list) do assert_verdict(true, origin, host) end
    end
  end)

  it("every other one is refused", function()
    for host, list in pairs {
      ["example.com"] = {
        "https://evil.example", "https://www.example.com", "https://example.com.evil.example",
        "https://evilexample.com", "https://com", "null", "", "example.com", "https://",
        "https://example.com/", "https://example.com@evil.example", "https://evil@example.com",
        "https://example.com:x", "https://example.com, https://evil.example", "*",
        "https://" .. ("a"):rep(400) .. ".example.com",
      },
      ["127.0.0.1"] = { "http://localhost", "http://127.0.0.2" },
      ["[::1]"] = { "http://[::2]", "http://::1" },
      ["evil.example@example.com"] = { "https://evil.example", "https://example.com" },
      [""] = { "https://example.com", "https://" },
    } do
      for _, origin in ipairs(list) do assert_verdict(false, origin, host) end
    end
    assert_verdict(false, "https://example.com", nil)
  end)

  it("a refusal says what to write", function()
    local _, reason, status, message, other = allow("HTTPS://Evil.example:443", { host = "a" })
    assert.equal("a page of another host is not allowed; the option `origins` allows it: "
      .. 'origins = { "https://evil.example" }', reason)
    assert.same({ nil, nil, "https://evil.example" }, { status, message, other })
    _, reason = allow("null", { host = "null" })
    assert.matches('origins = { "null" }', reason, 1, true)
    _, reason = allow("nonsense", { host = "a" })
    assert.equal("the Origin header is malformed", reason)
  end)

  it("a request without Origin passes, unless require_origin", function()
    assert.is_true((allow(nil, { host = "a" })))
    assert.is_false((origins.compile(nil, true)(nil, { host = "a" })))
    assert.is_true((origins.compile(nil, true)("http://a", { host = "a" })))
  end)
end)

describe("no check", function()
  it("is what a star is", function()
    for _, allow in ipairs { check "*", check { "*" } } do
      for _, origin in ipairs { "https://a.test", "null", "file://" } do
        assert.is_true((allow(origin)))
      end
    end
  end)
end)

describe("a function", function()
  it("decides on the normal form of the Origin, with the request", function()
    local seen
    local request = {}
    local allow = check(function(origin, asked)
      seen = { origin, asked }
      return origin == "https://example.com" and "yes"
    end)
    assert.is_true((allow("HTTPS://Example.com:443", request)))
    assert.equal("https://example.com", seen[1])
    assert.equal(request, seen[2])
    assert.same({ false, "this Origin is not allowed" }, { allow("https://evil.test", request) })
  end)

  it("is called for null, but not for an invalid or missing Origin", function()
    local calls = {}
    local allow = check(function(origin)
      calls[#calls + 1] = origin
      return true
    end)
    assert.is_true((allow "null"))
    assert.is_false((allow "nonsense"))
    assert.is_true((allow(nil)))
    assert.same({ "null" }, calls)
  end)
end)

describe("a request without Origin", function()
  it("passes", function()
    for _, option in ipairs { "https://example.com", "*", function() return false end } do
      assert.is_true((check(option)(nil)))
    end
  end)

  it("does not pass where one is required", function()
    for _, option in ipairs { "https://example.com", "*", function() return true end } do
      assert.same({ false, "an Origin header is required" }, { check(option, true)(nil) })
    end
    assert.is_false((check(nil, true)(nil)))
    assert.is_true((check("https://example.com", true) "https://example.com"))
  end)
end)

describe("a mistake in the option", function()
  it("is reported", function()
    for item, words in pairs {
      ["example.com"] = "begins with its scheme",
      ["*.example.com"] = "begins with its scheme",
      ["https://example.com/"] = "has no path",
      ["https://example.com/app"] = "has no path",
      ["https://me@example.com"] = "no user name",
      ["https://*"] = "first part of the host",
      ["https://a.*.com"] = "first part of the host",
      ["https://a*.example.com"] = "first part of the host",
      ["https://example.com:*"] = "first part of the host",
      ["https://*.*.com"] = "first part of the host",
      ["https://müller.example"] = "xn%-%-",
      [""] = "not empty",
      ["https://example.com:99999"] = "no Origin",
      ["https://exa mple.com"] = "no Origin",
    } do
      assert.matches(words, problem { item }, 1, false)
      assert.matches('"' .. item .. '": ', problem { item }, 1, true)
    end
  end)

  it("is reported for every item", function()
    assert.matches("one%.test.*two%.test", problem { "two.test", "https://ok.test", "one.test" })
  end)

  it("is reported for other types", function()
    assert.matches("list of Origins or a function, got number", problem(7))
    assert.matches("expected a text, got number", problem { 7 })
    assert.matches('got a field "url"', problem { url = "https://example.com" })
  end)
end)
