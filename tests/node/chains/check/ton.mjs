export async function checkTon() {}
