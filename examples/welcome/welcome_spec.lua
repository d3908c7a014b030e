-- welcome_spec.lua -- the welcome example without a browser: the echo, messages about its code, and
-- the examples in it. tests/browser/welcome_spec.lua tests the page.

local cjson = require "cjson"
local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

describe("examples/welcome", function()
  local app, folder, path, original

  lazy_setup(function()
    folder = process.make_directory()
    assert(os.execute(("cp -r examples docs '%s'"):format(folder)))
    path = folder .. "/examples/welcome/handler.lua"
    original = process.read_file(path)
    app = server.start({
      app_path = folder .. "/examples/welcome/app.lua",
      options = { "--watch" },
      workers = 1, -- the game's
    })
  end)
  lazy_teardown(function()
    app:stop()
    process.remove_directory(folder)
  end)
  after_each(stream.close_all)

  local function receive(peer) return cjson.decode((assert(peer:receive()))) end

  -- Receives messages of a page until one matches.
  local function receive_until(peer, is_so)
    local deadline = loop.now() + loop.patience
    repeat
      local message = receive(peer)
      if is_so(message) then return message end
      assert(loop.now() < deadline, "the page is not told")
    until false
  end

  it("sends text back as text and binary as binary", function()
    local ada = app:connect("/")
    local answer, kind = ada:ask("hello, wörld")
    assert.same({ "hello, wörld", "text" }, { answer, kind })
    ada:send_binary("\0\255")
    answer, kind = ada:receive()
    assert.same({ "\0\255", "binary" }, { answer, kind })
  end)

  it("sends pages new code, and mistakes that are not activated; the echo goes on", function()
    local ada, page = app:connect("/"), app:connect("/live")
    local first = receive(page)
    assert.same({ original, path, nil }, { first.source, first.path, first.problem })
    process.write_file(path, (original:gsub("send%(message", "send(message:upper()")))
    local message = receive_until(page, function(now) return now.generation > first.generation end)
    assert.is_truthy(message.source:find("message:upper()", 1, true))
    assert.equal("HELLO", (ada:ask("hello")))
    process.write_file(path, (original:gsub("  end,\n", "")))
    message = receive_until(page, function(now) return now.problem end)
    assert.is_truthy(message.problem:find("^handler.lua:5: "))
    assert.equal("STILL HERE", (ada:ask("still here")))
    process.write_file(path, original)
    receive_until(page, function(now)
      return now.source == original and now.generation > first.generation + 1
    end)
    assert.equal("hello", (ada:ask("hello")))
  end)

  it("sends its source only to its own pages", function()
    local function page_of(host)
      return client.connect(app:url("/live"), { headers = { Origin = "http://" .. host } })
    end
    -- the name by which the kit's client asks
    assert.equal(path, receive(assert(page_of("localhost"))).path)
    assert.equal(403, select(2, page_of("evil.example")))
  end)

  it("has the chat, the game and the documentation in it", function()
    local ada = app:connect("/chat/chat?username=ada")
    assert.equal("ada", receive_until(ada, function(now) return now.type == "welcome" end).username)
    local bob = app:connect("/game/game/arena?name=bob")
    assert.is_string(receive(bob).type)
    for _, page in ipairs({
      "/", "/chat/", "/game/", "/game/matches", "/docs/scripting", "/docs/decisions/json",
    }) do
      assert.equal(200, app:http(page).status, page)
    end
    for _, page in ipairs({
      "/docs/nothing", "/docs/..%2FREADME", "/docs/decisions/../../README", "/docs/",
    }) do
      assert.equal(404, app:http(page).status, page)
    end
  end)
end)
