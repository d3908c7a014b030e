-- guestbook_spec.lua -- the guestbook example's page in a real browser: what one writes the other
-- sees, older messages, refusals, and what it says while the server is away.
--
-- examples/guestbook/guestbook_spec.lua tests the messages. TIDEWIRE_TEST_SHOTS=FOLDER writes a
-- picture.

local chromium = require "browser.chromium"
local looks = require "browser.looks"
local process = require "support.process"
local server = require "support.server"

local FOLDER = require("luv").cwd() .. "/examples/guestbook/"

local function missing()
  if not chromium.find() then return chromium.missing() end
  if not package.searchpath("luasql.sqlite3", package.cpath) then
    return "lua-sql-sqlite3 is not installed: nothing of this is tried here"
  end
end

if missing() then
  describe("the guestbook's page", function()
    pending(missing(), function() end)
  end)
  return
end

describe("the guestbook's page", function()
  local app, folder, ada, bob

  local function start(port)
    return server.start({
      app_path = FOLDER .. "app.lua", listen = { "127.0.0.1:" .. (port or 0) },
      environment = { GUESTBOOK_FILE = folder .. "/book.db" },
    })
  end

  lazy_setup(function()
    folder = process.make_directory()
    app = start()
    ada, bob = chromium.start(), chromium.start()
    for _, browser in ipairs({ ada, bob }) do
      browser:open((app:url("/"):gsub("^ws", "http")))
      browser:wait("document.querySelector('#state').dataset.state === 'open'")
    end
  end)
  lazy_teardown(function()
    if ada then ada:stop() end
    if bob then bob:stop() end
    app:stop()
    process.remove_directory(folder)
  end)

  local function write(browser, name, text)
    browser:eval(("document.querySelector('#name').value = %q"):format(name))
    browser:eval(("document.querySelector('#text').value = %q"):format(text))
    browser:click("#write")
  end

  local function wait_for_messages(browser, expected)
    browser:wait(([=[[...document.querySelectorAll("#messages li")].map((item) =>
      item.querySelector("bdi").textContent + ": " + item.querySelector("p").textContent)
      .join("|") === %q]=]):format(expected))
  end

  it("shows what others write, as text", function()
    write(ada, "ada", "it's <b>nice</b> here")
    wait_for_messages(ada, "ada: it's <b>nice</b> here")
    ada:wait("document.querySelector('#text').value === ''")
    write(bob, "bob", "so it is")
    wait_for_messages(ada, "bob: so it is|ada: it's <b>nice</b> here")
    wait_for_messages(bob, "bob: so it is|ada: it's <b>nice</b> here")
    assert.same({}, looks.nameless(ada))
    for _, scheme in ipairs({ "light", "dark" }) do
      ada:prefer(scheme)
      looks.assert_readable(ada, scheme, { "#state", "li bdi", "li time", "li p", "#write" })
    end
    local shots = os.getenv("TIDEWIRE_TEST_SHOTS")
    if shots then ada:screenshot(shots .. "/guestbook.png") end
  end)

  it("keeps the text of a refused message", function()
    write(ada, " ", "hello")
    ada:wait("document.querySelector('#problem').textContent === 'name is empty'")
    assert.equal("hello", ada:eval("document.querySelector('#text').value"))
  end)

  it("shows the same after a restart, and older messages on demand", function()
    for number = 1, 20 do
      local eve = app:connect("/book")
      eve:receive()
      eve:ask(('{"type":"write","name":"eve","text":"%d"}'):format(number))
    end
    app:kill()
    ada:wait("document.querySelector('#state').dataset.state === 'waiting'")
    assert.is_true(ada:eval("document.querySelector('#write').disabled"))
    app = start(app.addresses[1].port)
    ada:wait("document.querySelector('#state').dataset.state === 'open'")
    ada:open((app:url("/"):gsub("^ws", "http"))) -- the newest twenty
    ada:wait("document.querySelectorAll('#messages li').length === 20")
    ada:click("#older")
    ada:wait("document.querySelectorAll('#messages li').length === 22")
    assert.equal("it's <b>nice</b> here",
      ada:eval("document.querySelector('#messages li:last-child p').textContent"))
    assert.is_true(ada:eval("document.querySelector('#older').hidden"))
  end)
end)
