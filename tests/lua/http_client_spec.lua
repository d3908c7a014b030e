-- http_client_spec.lua -- tw.http.request: invalid arguments, defaults, and waiting.
-- tests/server/http_client_spec.lua sends real requests.

local fake_core = require "support.fake_core"

local HERE = debug.getinfo(1, "S").short_src:gsub("%p", "%%%0")

local world, http_client
local begun, ended, results -- what C was asked for; which requests it forgot; what came of each

before_each(function()
  world = fake_core:install()
  begun, ended, results = {}, {}, {}
  function world.core.http_check_url(url)
    if url:find("bad", 1, true) then
      return nil, "it is bad"
    end
    return true
  end
  function world.core.http_begin(task, url, method, headers, body, seconds, max_bytes, redirects)
    table.insert(begun, {
      task = task, url = url, method = method, headers = headers, body = body, seconds = seconds,
      max_bytes = max_bytes, redirects = redirects,
    })
    return #begun
  end
  function world.core.http_result(number)
    if results[number] then
      return table.unpack(results[number], 1, 3)
    end
  end
  function world.core.http_end(number) table.insert(ended, number) end
  http_client = require "tidewire.http.client"
end)

after_each(function() world:uninstall() end)

--- Starts a request in a hook of its own, and returns what C was given.
local function asked(options)
  local task = world:run(function() return http_client.request(options) end)
  assert(task.state == "waits", tostring((world.failures[1] or {}).value))
  return begun[#begun]
end

--- The message with which it throws, which must name the line that asked.
local function misuse(options)
  local line
  local task = world:run(function()
    line = debug.getinfo(1, "l").currentline + 1
    http_client.request(options)
  end)
  assert(task.state == "failed", "it was accepted")
  assert.equal(0, #begun)
  local at, text =
    world.failures[#world.failures].value:match("^" .. HERE .. ":(%d+): tw%.http%.request: (.*)$")
  assert(at, "the error is not told at its caller: " .. world.failures[#world.failures].value)
  assert.equal(line, tonumber(at))
  return text
end

--- The same for an option beside a good URL.
local function misused(name, value)
  return misuse({ url = "http://x/", [name] = value })
end

describe("what a request is made of", function()
  it("has defaults", function()
    local order = asked { url = "http://example.org/" }
    assert.same({
      task = order.task, url = "http://example.org/", method = "GET", headers = "", body = nil,
      seconds = 10, max_bytes = 8388608, redirects = 0,
    }, order)
  end)

  it("is what the script says", function()
    local order = asked {
      url = "HTTPS://example.org/", method = "patch", headers = { B = { "1", 2 }, A = "x" },
      body = "text", timeout = 0.5, max_bytes = 100, redirects = 3,
    }
    assert.same({
      task = order.task, url = "HTTPS://example.org/", method = "PATCH",
      headers = "A: x\r\nB: 1\r\nB: 2\r\n", body = "text", seconds = 0.5, max_bytes = 100,
      redirects = 3,
    }, order)
  end)

  it("is a POST where there is a body and no method", function()
    assert.equal("POST", asked({ url = "http://x/", body = "" }).method)
    assert.equal("GET", asked({ url = "http://x/", body = "q", method = "GET" }).method)
  end)

  it("has an empty body where the method wants one", function()
    for _, method in ipairs { "POST", "PUT", "PATCH" } do
      assert.equal("", asked({ url = "http://x/", method = method }).body)
    end
    assert.is_nil(asked({ url = "http://x/", method = "DELETE" }).body)
  end)

  it("has a table as JSON, with its type unless it has one", function()
    local order = asked { url = "http://x/", body = { n = 1 } }
    assert.same({ '{"n":1}', "Content-Type: application/json\r\n" }, { order.body, order.headers })
    order = asked {
      url = "http://x/", body = { n = 1 }, headers = { ["content-type"] = "application/x+json" },
    }
    assert.equal("content-type: application/x+json\r\n", order.headers)
  end)

  it("leaves the script's tables as they are", function()
    local headers = {}
    asked { url = "http://x/", body = { 1 }, headers = headers }
    assert.same({}, headers)
  end)
end)

describe("misuse throws:", function()
  it("no table", function()
    assert.equal("a table of options is needed, got string", misuse "http://x/")
    assert.equal("a table of options is needed, got nil", misuse(nil))
  end)

  it("an unknown option, with the nearest name", function()
    assert.equal('unknown option "methd"; did you mean "method"?', misused("methd", "GET"))
    assert.equal('unknown option "1"', misuse { "http://x/" })
  end)

  it("a URL that is none", function()
    assert.equal("url must be a string, got nil", misuse {})
    assert.equal('url must begin with http:// or https://, got "ftp://x/"',
      misuse { url = "ftp://x/" })
    assert.equal('url must begin with http:// or https://, got "example.org"',
      misuse { url = "example.org" })
    assert.equal("url is none that can be asked for: it is bad", misuse { url = "http://bad" })
  end)

  it("a URL that could break the request", function()
    for character, code in pairs {
      [" "] = "20", ["\r\nA: b"] = "0D", ["\0"] = "00", ["é"] = "C3",
    } do
      assert.equal(("url has a character at byte 10 that must be percent-encoded (%%%s)")
        :format(code),
        misuse { url = "http://x/" .. character })
    end
  end)

  it("a method that is none", function()
    assert.equal('method must be a word such as "GET", got "GET /x"', misused("method", "GET /x"))
    assert.equal('method must be a word such as "GET", got ""', misused("method", ""))
    assert.equal('method must be a word such as "GET", got boolean', misused("method", true))
    assert.equal("CONNECT is no request to a resource", misused("method", "connect"))
    assert.equal("a HEAD request has no body",
      misuse { url = "http://x/", method = "HEAD", body = "x" })
  end)

  it("headers that cannot be sent", function()
    assert.equal("headers must be a table of names and values, got string",
      misused("headers", "A: b"))
    assert.equal("header A: a value cannot have line ends or control characters",
      misused("headers", { A = "b\r\nC: d" }))
    assert.equal('"A: b" is no header name', misused("headers", { ["A: b"] = "c" }))
    assert.equal('"1" is no header name', misused("headers", { "A: b" }))
    assert.equal("header A: a string is needed, got boolean", misused("headers", { A = true }))
    assert.equal("header A: a string is needed, got table", misused("headers", { A = { { "b" } } }))
  end)

  it("headers that belong to the way the bytes go", function()
    for _, name in ipairs {
      "Content-Length", "transfer-encoding", "CONNECTION", "Expect", "Upgrade",
    } do
      assert.equal(("the header %s is set by itself"):format(name),
        misused("headers", { [name] = "1" }))
    end
  end)

  it("a body that is neither text nor a table", function()
    assert.equal("body must be a string, or a table, which is sent as JSON; got number",
      misused("body", 1))
    local cycle = {}
    cycle.self = cycle
    assert.matches("^the body cannot be JSON: ", misused("body", cycle))
  end)

  it("numbers out of their range", function()
    assert.equal("timeout must be a number from 0.001 to 86400, got 0", misused("timeout", 0))
    assert.equal("timeout must be a number from 0.001 to 86400, got 86401",
      misused("timeout", 86401))
    assert.matches("^timeout must be a number from 0.001 to 86400, got %-?nan$",
      misused("timeout", 0 / 0))
    assert.equal("timeout must be a number from 0.001 to 86400, got string",
      misused("timeout", "1"))
    assert.equal("max_bytes must be a number from 0 to 1073741824, got -1",
      misused("max_bytes", -1))
    assert.equal("max_bytes must be an integer, got 1.5", misused("max_bytes", 1.5))
    assert.equal("redirects must be a number from 0 to 100, got 101", misused("redirects", 101))
    assert.equal("redirects must be a number from 0 to 100, got boolean",
      misused("redirects", true))
  end)

  it("a place where nothing can wait", function()
    local ok, message = pcall(function() http_client.request { url = "http://x/" } end)
    assert.is_false(ok)
    assert.matches("^" .. HERE .. ":%d+: tw%.http%.request: nothing here can wait", message)
    world:run(function()
      ok, message =
        pcall(string.gsub, "x", "x", function() http_client.request { url = "http://x/" } end)
    end)
    assert.is_false(ok)
    assert.matches("^" .. HERE
      .. ":%d+: tw%.http%.request: attempt to yield across a C%-call boundary", message)
    assert.equal(0, #begun)
  end)
end)

describe("the answer", function()
  --- What the request returns once C has these results.
  local function answered(...)
    local task = world:run(function() return http_client.request { url = "http://x/" } end)
    results[#begun] = { ... }
    world.core.wake(begun[#begun].task)
    world:turn()
    assert.equal("returned", task.state)
    return table.unpack(task.results, 1, task.results.n)
  end

  it("has status, headers and body", function()
    local response, problem =
      answered(404, "HTTP/1.1 404 No\r\nX-A: 1\r\nX-B:  2 \r\nx-a: 3\r\n\r\n", "body")
    assert.is_nil(problem)
    assert.same({ 404, "body" }, { response.status, response.body })
    assert.same({ "1, 3", "2", nil },
      { response.headers["X-a"], response.headers["x-b"], response.headers["X-C"] })
  end)

  it("is nil and the message where there is none", function()
    assert.same({ nil, "connection refused" }, { answered(nil, "connection refused") })
  end)

  it("is nil and the message where the request cannot be begun", function()
    function world.core.http_begin() return nil, "too many" end
    local task = world:run(function() return http_client.request { url = "http://x/" } end)
    assert.same({ nil, "too many", n = 2 }, task.results)
  end)

  it("is forgotten by C when it was taken", function()
    answered(200, "HTTP/1.1 200 OK\r\n\r\n", "")
    assert.same({ 1 }, ended)
  end)

  it("is waited for, whatever else wakes the hook", function()
    local task = world:run(function() return http_client.request { url = "http://x/" } end)
    world.core.wake(begun[1].task)
    world:turn()
    assert.equal("waits", task.state)
    assert.same({}, ended)
  end)

  it("leaves nothing behind that would cut the next sleep short", function()
    local async = require "tidewire.async"
    local task = world:run(function()
      http_client.request { url = "http://x/" }
      async.sleep(5)
    end)
    results[1] = { 200, "HTTP/1.1 200 OK\r\n\r\n", "" }
    world.core.wake(begun[1].task)
    world:turn()
    world:advance(4)
    assert.equal("waits", task.state)
  end)

  it("ends with its coroutine, and the coroutine that resumed it goes on", function()
    local co = coroutine.create(function() http_client.request { url = "http://x/" } end)
    local task = world:run(function() return coroutine.resume(co) end)
    assert.equal("waits", task.state)
    coroutine.close(co)
    assert.same({ 1 }, ended)
    world:turn()
    assert.same({ false, "cannot resume dead coroutine", n = 2 }, task.results)
  end)
end)
