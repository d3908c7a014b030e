-- date.lua -- seeds of fuzz_date: the three forms of RFC 9110 section 5.6.7.

return {
  fixed = "Sun, 06 Nov 1994 08:49:37 GMT",
  old = "Sunday, 06-Nov-94 08:49:37 GMT",
  asctime = "Sun Nov  6 08:49:37 1994",
  leap = "Thu, 29 Feb 2024 23:59:60 GMT",
  first = "Thu, 01 Jan 1970 00:00:00 GMT",
  last = "Fri, 31 Dec 9999 23:59:59 GMT",
}
