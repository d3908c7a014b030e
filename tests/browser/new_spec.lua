-- new_spec.lua -- the page of the app that `tidewire new` makes.
--
-- TIDEWIRE_TEST_SHOTS=FOLDER writes pictures of the page into the folder.

local chromium = require "browser.chromium"
local looks = require "browser.looks"
local process = require "support.process"
local server = require "support.server"

if not chromium.find() then
  describe("the page of a new app", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

describe("the page of a new app", function()
  local app, ada, folder

  lazy_setup(function()
    folder = process.make_directory()
    assert.equal(0,
      process.run(server.binary(), { args = { "new", "shop" }, directory = folder }).code)
    app = server.start({ app_path = folder .. "/shop/app.lua", options = { "--watch" } })
    ada = chromium.start()
  end)
  lazy_teardown(function()
    if ada then ada:stop() end
    if app then app:stop() end
    process.remove_directory(folder)
  end)

  before_each(function()
    ada:reset():open((app:url("/"):gsub("^ws", "http")))
    ada:wait("document.querySelector('#state').dataset.state === 'open'")
  end)
  after_each(function() assert.same({}, ada.problems) end)

  local LINES =
    "[...document.querySelectorAll('#log li')].map((line) => line.textContent).join('|')"

  it("greets, counts messages, and shows them as text", function()
    ada:type("#text", "<b>one</b>"):press("Enter")
    ada:wait(LINES .. " === 'Hello! Whatever you say comes back.|<b>one</b>|1: <b>one</b>'")
    ada:type("#text", "two"):click("#send")
    ada:wait(LINES .. ".endsWith('|two|2: two')")
  end)

  it("shows that new code is active, and keeps its connection", function()
    ada:type("#text", "one"):press("Enter")
    ada:wait(LINES .. ".endsWith('|1: one')")
    local path = folder .. "/shop/handlers/hello.lua"
    process.write_file(path,
      (process.read_file(path):gsub("count = conn.count }", "count = conn.count * 10 }")))
    ada:wait(LINES .. ".includes('New code was activated: generation ')")
    ada:type("#text", "two"):press("Enter")
    ada:wait(LINES .. ".endsWith('|20: two')")
  end)

  it("is not there while the browser keeps it for the way back", function()
    ada:eval("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    ada:eval("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    ada:wait(LINES .. " === 'Hello! Whatever you say comes back.|Hello! Whatever you say "
      .. "comes back.'")
  end)

  it("fits a phone, has names for all, and can be read in light and in dark", function()
    ada:type("#text", ("a-long-word-without-a-blank"):rep(8)):press("Enter")
    ada:wait("document.querySelectorAll('#log li').length === 3")
    assert.same({}, looks.nameless(ada))
    local shots = os.getenv("TIDEWIRE_TEST_SHOTS")
    for _, scheme in ipairs({ "light", "dark" }) do
      ada:prefer(scheme)
      looks.assert_readable(ada, scheme, { "h1", "#state", "#log li", "#log .own", "#send" })
      for _, width in ipairs({ 320, 360, 1280 }) do
        ada:resize(width, 700)
        ada:wait("innerWidth === " .. width)
        assert.equal(width, ada:eval("document.documentElement.scrollWidth"))
        assert.is_true(
          ada:eval("document.querySelector('#send').getBoundingClientRect().bottom <= innerHeight"))
        if shots then ada:screenshot(("%s/new-%s-%d.png"):format(shots, scheme, width)) end
      end
    end
  end)
end)
