// What `body` makes of an address's answer; null where it is refused or cannot be reached, or where it breaks off on its
// way, as it does when the page is left meanwhile.
export const read = async (address, body, options) => {
  try {
    const answer = await fetch(address, options);
    return answer.ok ? await body(answer) : null;
  } catch {
    return null;
  }
};
