-- docs_spec.lua -- the documentation as the welcome example shows it in a browser.
--
-- TIDEWIRE_TEST_SHOTS=FOLDER writes pictures of the pages into the folder.

local chromium = require "browser.chromium"
local looks = require "browser.looks"
local process = require "support.process"
local server = require "support.server"
local uv = require "luv"

if not chromium.find() then
  describe("the documentation in a browser", function()
    pending(chromium.missing(), function() end)
  end)
  return
end

-- The pages of docs/ and its folder of decisions, by their names.
local function all_pages()
  local pages = {}
  for _, folder in ipairs({ "", "decisions/" }) do
    local scan = assert(uv.fs_scandir("docs/" .. folder))
    for file in function() return uv.fs_scandir_next(scan) end do
      local name = file:match("^(.+)%.md$")
      if name then pages[#pages + 1] = folder .. name end
    end
  end
  return pages
end

describe("the documentation in a browser", function()
  local app, ada

  lazy_setup(function()
    app = server.start({ app_path = uv.cwd() .. "/examples/welcome/app.lua", workers = 1 })
    ada = chromium.start()
  end)
  lazy_teardown(function()
    if ada then ada:stop() end
    app:stop()
  end)
  after_each(function() assert.same({}, ada.problems) end)

  local function open(name)
    ada:open((app:url("/docs.html?" .. name):gsub("^ws", "http")))
    ada:wait("document.querySelector('#page h1')")
  end

  -- How often a line of a page's text begins so, outside of blocks of code.
  local function count(text, pattern)
    local found, in_code, before = 0, false, ""
    for line in text:gmatch("([^\n]*)\n") do
      if line:find("^```") then in_code = not in_code end
      if not in_code and line:find(pattern) and not before:find(pattern) then found = found + 1 end
      before = in_code and "" or line
    end
    return found
  end

  for _, name in ipairs(all_pages()) do
    it("shows all of " .. name, function()
      local text = process.read_file("docs/" .. name .. ".md")
      open(name)
      assert.equal(text:match("^# ([^\n]+)"):gsub("`", ""),
        ada:eval("document.querySelector('h1').textContent"))
      assert.equal(count(text, "^## "), ada:eval("document.querySelectorAll('#page h2').length"))
      assert.equal(count(text, "^|"), ada:eval("document.querySelectorAll('#page table').length"))
      local _, fences = ("\n" .. text):gsub("\n```", "")
      assert.is_true(ada:eval("document.querySelectorAll('#page pre').length") >= fences // 2)
      -- Nothing of Markdown's own is left, each link within the page finds its heading, and each
      -- row has its cells.
      assert.same("", ada:eval([[(() => {
        const all = document.querySelectorAll("#page :is(p, li, td, th, h2, h3)");
        const words = [...all].map((one) => {
          const copy = one.cloneNode(true);
          for (const code of copy.querySelectorAll("code")) code.remove();
          return copy.textContent;
        });
        return words.filter((text) => /`|\]\(|\*\*|^\||^#/.test(text)).join("\n");
      })()]]))
      assert.equal("", ada:eval([[ [...document.querySelectorAll("#page a[href^='#']")]
        .map((one) => decodeURIComponent(one.hash.slice(1)))
        .filter((id) => !document.getElementById(id)).join(" ") ]]))
      assert.is_true(ada:eval([[ [...document.querySelectorAll("#page table")]
        .every((table) => [...table.rows]
          .every((row) => row.cells.length === table.rows[0].cells.length)) ]]))
    end)
  end

  it("leads from page to page, and says what there is not", function()
    open("operating")
    ada:click("#page a[href='docs.html?configuration']")
    ada:wait("document.querySelector('h1')?.textContent === 'Configuration'")
    ada:click("#pages a[href='docs.html?recipes']")
    ada:wait("document.querySelector('h1')?.textContent === 'Recipes'")
    assert.equal("Recipes", ada:eval("document.querySelector('#pages [aria-current]').textContent"))
    ada:open((app:url("/docs.html?operating#tls"):gsub("^ws", "http")))
    ada:wait("document.getElementById('tls').getBoundingClientRect().top < innerHeight")
    ada:open((app:url("/docs.html?nothing"):gsub("^ws", "http")))
    ada:wait("document.querySelector('#page').textContent === 'There is no page “nothing”.'")
    ada.problems = {} -- the 404 that was asked for
  end)

  it("fits a phone, has names for all, and can be read in light and in dark", function()
    open("scripting")
    assert.same({}, looks.nameless(ada))
    local shots = os.getenv("TIDEWIRE_TEST_SHOTS")
    for _, scheme in ipairs({ "light", "dark" }) do
      ada:prefer(scheme)
      looks.assert_readable(ada, scheme, {
        "h1", "p", "p code", "#page a", "td", "th", "pre", "pre .comment", "pre .keyword",
        "pre .string", "pre .number",
      })
      for _, width in ipairs({ 320, 360, 1280 }) do
        ada:resize(width, 900)
        ada:wait("innerWidth === " .. width)
        assert.equal(width, ada:eval("document.documentElement.scrollWidth"))
        if shots then ada:screenshot(("%s/docs-%s-%d.png"):format(shots, scheme, width)) end
        if shots then
          ada:eval("document.querySelectorAll('table')[1].scrollIntoView()")
          ada:screenshot(("%s/docs-table-%s-%d.png"):format(shots, scheme, width))
          ada:eval("scrollTo(0, 0)")
        end
      end
    end
  end)
end)
