-- recipes_outside_spec.lua -- the recipes of docs/recipes.md that use other servers, programs and
-- libraries.

local cjson = require "cjson"
local loop = require "support.loop"
local origin = require "support.origin"
local process = require "support.process"
local recipes = require "support.recipes"
local stream = require "support.stream"
local uv = require "luv"

describe("docs/recipes.md", function()
  after_each(stream.close_all)

  it("an HTTP API with paging", function()
    local answers = {}
    local api <close> = origin.start(function(peer, request)
      local answer = answers[request.target] or { 404 }
      if type(answer[1]) == "table" then -- one after the other; the last again and again
        answer = answer[2] and table.remove(answer, 1) or answer[1]
      end
      peer:answer(answer[1], answer[2], answer[3])
    end)
    local app <close> = recipes.start("An HTTP API with paging", nil, { API = api.url })
    local ada = app:connect("/")
    local function page(users, link) return { 200, { Link = link }, cjson.encode(users) } end
    local function ask() return (ada:ask("1")) end

    answers["/users"] = page({ "ada", "bob" }, '</users?page=1>; rel="prev", '
      .. '</users?page=2>; rel="next"')
    answers["/users?page=2"] = { -- asked twice
      { 429, { ["Retry-After"] = "0" } },
      page({ "eve" }, ("<%s/users?page=3>; rel=next"):format(api.url)),
    }
    answers["/users?page=3"] = page({ "zoe" }, '</users?page=1>; rel="first"')
    assert.equal('{"users":["ada","bob","eve","zoe"]}', ask())
    assert.equal("application/json", api.requests[1].headers.accept)
    assert.equal(4, #api.requests)

    answers["/users?page=3"] = { 500 }
    answers["/users?page=2"] = page({}, '</users?page=3>; rel="next"')
    assert.equal('{"error":"status 500"}', ask())
    answers["/users?page=3"] = { 503, { ["Retry-After"] = "0" } }
    assert.equal('{"error":"status 503"}', ask())
    answers["/users?page=3"] = { 200, {}, "nonsense" }
    assert.equal('{"error":"the page is no list"}', ask())
    for _, link in ipairs({ "http://other.example/", "//other.example/", api.url .. "@other/" }) do
      answers["/users?page=3"] = page({}, ('<%s>; rel="next"'):format(link))
      assert.equal('{"error":"the next page is on another server"}', ask())
    end
    answers["/users?page=3"] = page({}, '</users?page=3>; rel="next"')
    assert.equal('{"error":"there are more than 100 pages"}', ask())
    api:close()
    assert.equal('{"error":"connection refused"}', ask())
  end)

  it("run a process", function()
    local app <close> = recipes.start("Run a process")
    local ada = app:connect("/")
    assert.equal("1970-01-01\n", (ada:ask("date")))
    assert.equal("failed: it took too long", (ada:ask("sleep")))
    assert.equal("failed: it wrote too much", (ada:ask("yes")))
    assert.is_truthy((ada:ask("nonsense")):find("^failed: ENOENT"))
    assert.equal("", (ada:ask("anything else"))) -- tr reads nothing
  end)

  -- A server with a part of Redis' protocol, which sends its answers in pieces.
  local function fake_redis()
    local counts, sockets, listener = {}, {}, uv.new_tcp()
    assert(listener:bind("127.0.0.1", 0))
    listener:listen(16, function()
      local socket = uv.new_tcp()
      listener:accept(socket)
      sockets[#sockets + 1] = socket
      socket:read_start(function(_, data)
        for name in (data or ""):gmatch("%*2\r\n%$4\r\nINCR\r\n%$%d+\r\n([^\r]*)\r\n") do
          counts[name] = (counts[name] or 0) + 1
          local answer = name:find("wrong") and "-ERR wrong kind\r\n"
            or (":%d\r\n"):format(counts[name])
          socket:write(answer:sub(1, 2))
          socket:write(answer:sub(3))
        end
      end)
    end)
    local function drop()
      for _, socket in ipairs(sockets) do socket:close() end
      sockets = {}
    end
    return listener:getsockname().port, drop, function()
      drop()
      listener:close()
    end
  end

  it("a database", function()
    local port, drop, stop = fake_redis()
    local app <close> =
      recipes.start("A database", nil, { REDIS_HOST = "127.0.0.1", REDIS_PORT = tostring(port) })
    local ada = app:connect("/")
    assert.equal("1", (ada:ask("lobby")))
    assert.equal("2", (ada:ask("lobby")))
    assert.equal("1", (ada:ask("garden")))
    assert.equal("no answer: ERR wrong kind", (ada:ask("wrong")))
    drop()
    -- it connects again
    assert.equal("3", loop.ask_until(function() return (ada:ask("lobby")) end, "3"))
    stop()
    assert.is_truthy(loop.ask_until(function()
      return ((ada:ask("lobby")):find("^no answer: ECONN"))
    end, 1))
  end)

  it("a library that blocks", function()
    local app <close> = recipes.start("A library that blocks")
    local ada = app:connect("/")
    assert.equal("saved 5 bytes", (ada:ask("hello")))
    assert.equal("hello\n", process.read_file(app.directory .. "/messages.txt"))
    assert(os.remove(app.directory .. "/messages.txt")
      and uv.fs_mkdir(app.directory .. "/messages.txt", 493))
    assert.is_truthy((ada:ask("again")):find("^not saved: .*messages.txt"))
  end)

  it("has a test for each of these recipes", function()
    assert.same({}, recipes.untried(true))
  end)
end)
