-- http_spec.lua -- plain HTTP beside the sockets: from a request to the app's route and its
-- response.

local fake_app = require "support.fake_app"
local json = require "tidewire.json"

local world

before_each(function() world = fake_app:install() end)
after_each(function() world:uninstall() end)

local function hello()
  return "hello"
end

--- Serves an app and asks it.
local function ask(app, method, path, body, headers)
  world:serve(app)
  return world:request(method, path, body, headers)
end

--- The message of a refusal, which must be JSON with the status of the answer.
local function message_of(answer)
  assert.matches("Content%-Type: application/json\r\n", answer.headers)
  local body = assert(json.decode(answer.body))
  assert.equal(answer.status, body.status)
  return body.error
end

describe("a route", function()
  it("answers its method and path", function()
    assert.same({ status = 200, headers = "", body = "hello" },
      (ask({ http = { ["GET /a"] = hello } }, "GET", "/a")))
  end)

  it("without a method answers all", function()
    world:serve { http = { ["/a"] = function(request) return request.method end } }
    for _, method in ipairs { "GET", "POST", "DELETE", "PATCH" } do
      assert.equal(method, world:request(method, "/a").body)
    end
  end)

  it("of GET answers HEAD", function()
    assert.equal(200, (ask({ http = { ["GET /a"] = hello } }, "HEAD", "/a")).status)
  end)

  it("is given the request and nothing else", function()
    local got
    ask({
      http = {
        ["POST /item/:id"] = function(...)
          got = table.pack(...)
          return 204
        end,
      },
    }, "POST", "/item/caf%C3%A9?as=ada", "the body", { ["X-Token"] = "t" })
    assert.equal(1, got.n)
    local request = got[1]
    assert.same({ "POST", "/item/café", "café", "ada", "t", "the body", "192.0.2.1", false }, {
      request.method, request.path, request.params.id, request.query.as, request.headers["x-token"],
      request.body, request.remote_address, request.secure,
    })
  end)

  it("has no body where there is none", function()
    local body = "unset"
    ask({ http = { ["GET /a"] = function(request)
      body = request.body
      return 204
    end } }, "GET", "/a")
    assert.is_nil(body)
  end)

  it("may answer with status, headers and body", function()
    local answer = ask({
      http = { ["/a"] = function()
        return { status = 201, headers = { ["X-A"] = "b" }, body = { id = 7 } }
      end },
    }, "POST", "/a")
    assert.same({
      status = 201, headers = "Content-Type: application/json\r\nX-A: b\r\n", body = '{"id":7}',
    }, answer)
  end)

  it("may answer with a status and a body", function()
    assert.same({ status = 201, headers = "", body = "made" },
      (ask({ http = { ["/a"] = function() return 201, "made" end } }, "POST", "/a")))
  end)

  it("may wait, and others are answered meanwhile", function()
    world:serve {
      http = {
        ["/slow"] = function()
          require("tidewire").sleep(1)
          return "slow"
        end,
        ["/quick"] = function() return "quick" end,
      },
    }
    local early, number = world:request("GET", "/slow")
    assert.is_nil(early)
    assert.equal("quick", world:request("GET", "/quick").body)
    world:advance(1)
    assert.equal("slow", world.answers[number].body)
  end)

  it("on the path of an endpoint answers plain requests", function()
    assert.equal("hello",
      (ask({ endpoints = { ["/a"] = {} }, http = { ["GET /a"] = hello } }, "GET", "/a")).body)
  end)
end)

describe("a request that no route answers", function()
  it("is answered with 404 and the reason", function()
    local answer = ask({ http = { ["/a"] = hello } }, "GET", "/b")
    assert.equal(404, answer.status)
    assert.equal("There is nothing at this path.", message_of(answer))
  end)

  it("with another method is a 405 that names the right ones", function()
    local answer = ask({ http = { ["POST /a"] = hello, ["GET /a"] = hello } }, "DELETE", "/a")
    assert.equal(405, answer.status)
    assert.matches("Allow: GET, HEAD, POST\r\n", answer.headers)
    assert.equal("This method is not allowed here.", message_of(answer))
  end)

  it("on the path of an endpoint is a 426 that says how to connect", function()
    local answer = ask({ endpoints = { ["/game/:room"] = {} } }, "GET", "/game/7")
    assert.equal(426, answer.status)
    assert.matches("Upgrade: websocket\r\n", answer.headers)
    assert.equal("This is a WebSocket endpoint: connect with ws://, or wss:// behind TLS.",
      message_of(answer))
  end)

  it("is no error of the script's", function()
    ask({ http = { ["POST /a"] = hello } }, "GET", "/a")
    assert.equal(0, world.stats.script_errors)
    assert.same({}, world.logs)
  end)
end)

describe("a mistake of a route is answered with a bare 500, logged and counted:", function()
  local function assert_logged(handler, pattern)
    local answer, number = ask({ http = { ["POST /a/:id"] = handler } }, "POST", "/a/7")
    if not answer then
      world:advance(1)
      answer = world.answers[number]
    end
    assert.equal(500, answer.status)
    assert.equal("The server failed to answer.", message_of(answer))
    local line = world:logged("script_error")[1]
    assert.equal("http POST /a/:id", line.fields.hook)
    assert.matches(pattern, line.fields.why)
    assert.equal(1, world.stats.script_errors)
    assert.same({}, world.failures)
  end

  it("an error", function()
    assert_logged(function() error("out of tea") end, "http_spec%.lua:%d+: out of tea")
    assert.matches("^stack traceback:", world:logged("script_error")[1].fields.traceback)
  end)

  it("an error of nil", function()
    assert_logged(function() error() end, "^nil$")
  end)

  it("an error after it has waited", function()
    assert_logged(function()
      require("tidewire").sleep(0.5)
      error("late")
    end, "http_spec%.lua:%d+: late")
  end)

  it("nothing", function()
    assert_logged(function() end,
      "^[^%s]*http_spec%.lua:%d+: a route must return .*; it returned nil$")
  end)

  it("a status that is none", function()
    assert_logged(function() return 42 end, "it returned 42")
    world:uninstall()
    world = fake_app:install()
    assert_logged(function() return { status = 42 } end, "got 42")
  end)

  it("a header that would break the answer", function()
    assert_logged(function()
      return { headers = { ["X-A"] = "a\r\nSet-Cookie: b" }, body = "x" }
    end,
      "header X%-A")
  end)

  it("a body that JSON has no form for", function()
    assert_logged(function() return { body = { print } } end, "function")
  end)
end)

describe("a static folder", function()
  local FOLDER = require("lfs").currentdir() .. "/tests"

  it("is handed to C with the rest of the path as it came", function()
    world:serve { http = { ["/files"] = { static = FOLDER } } }
    assert.same({ root = FOLDER, path = "/a%20b/c.txt" },
      (world:request("GET", "/files/a%20b/c.txt?x=1")))
    assert.same({ root = FOLDER, path = "" }, (world:request("GET", "/files")))
  end)

  it("answers GET and HEAD only", function()
    world:serve { http = { ["/files"] = { static = FOLDER } } }
    assert.same({ root = FOLDER, path = "/a" }, (world:request("HEAD", "/files/a")))
    local answer = world:request("POST", "/files/a")
    assert.equal(405, answer.status)
    assert.matches("Allow: GET, HEAD\r\n", answer.headers)
  end)

  it("leaves the paths of endpoints below it to them: 426", function()
    world:serve { endpoints = { ["/ws"] = {} }, http = { ["/"] = { static = FOLDER } } }
    assert.equal(426, (world:request("GET", "/ws")).status)
    assert.equal(FOLDER, (world:request("GET", "/ws2")).root)
  end)

  it("at the very path of an endpoint serves its page", function()
    local folder = { static = FOLDER }
    world:serve {
      endpoints = { ["/"] = {}, ["/chat"] = {} }, http = { ["/"] = folder, ["/chat"] = folder },
    }
    assert.same({ root = FOLDER, path = "/" }, (world:request("GET", "/")))
    assert.same({ root = FOLDER, path = "" }, (world:request("GET", "/chat")))
  end)
end)
